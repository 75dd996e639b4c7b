/**
 * The reflog `.cvmfsreflog` (spec 1.6, schema 1.0 revision 0): every root object that was ever published, so that garbage
 * collection finds revisions to which no history leads any more. Not compressed; the manifest has its hash in `Y`.
 *
 *     refs(hash, type, timestamp)   type 0 root catalog, 1 certificate, 2 history, 3 metainfo
 *
 * It is stored before the manifest. A publish that dies in between leaves one that knows a revision too many and does not
 * have the hash in the manifest: harmless, and the next publish goes on from it.
 */
import * as fs from 'node:fs';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import { Database } from '../cvmfs/database';
import { formatHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';

export const REFLOG_NAME = '.cvmfsreflog';
/** A revision adds about 200 bytes. */
export const MAX_REFLOG_BYTES = 1 << 30;

export const REFERENCE_TYPES = { catalog: 0, certificate: 1, history: 2, metainfo: 3 } as const;
export type ReferenceType = keyof typeof REFERENCE_TYPES;

export interface Reference {
  readonly hash: ContentHash;
  readonly type: ReferenceType;
}

const SCHEMA = `
CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
CREATE TABLE refs (hash TEXT, type INTEGER, timestamp INTEGER, CONSTRAINT pk_refs PRIMARY KEY (hash));
INSERT INTO properties (key, value) VALUES ('schema', '1.0'), ('schema_revision', '0');
`;
const MAX_REFERENCES = 10_000_000;

/** Hashes as text with the numbers of their types; FAILED_PRECONDITION for what is no reflog of this repository. */
export function readReflog(file: string, fqrn: string): Map<string, number> {
  const refuse = (why: string, cause?: unknown): Failure =>
    new Failure('FAILED_PRECONDITION', `the reflog of ${fqrn} ${why}`, { next: 'restore .cvmfsreflog from a copy', cause });
  let database: Database;
  try {
    database = Database.open(file, 'STATE_DAMAGED', 'the reflog');
  } catch (err) {
    throw refuse(`is damaged: ${Failure.from(err).what}`, err);
  }
  try {
    const owner = database.pairs('properties', 'key', 'value').get('fqrn')?.toString();
    if (owner !== fqrn) throw refuse(`is that of ${JSON.stringify(owner?.slice(0, 80))}`);
    database.require('refs', ['hash', 'type']);
    const statement = database
      .prepare(`SELECT CASE WHEN octet_length(hash) <= 64 THEN hash END, type FROM refs NOT INDEXED LIMIT ${MAX_REFERENCES}`)
      .raw();
    const rows = database.run(() => statement.all()) as Array<[string | null, number]>;
    return new Map(rows.map(([hash, type]) => [hash ?? '', type]));
  } finally {
    database.close();
  }
}

/** Adds references to the reflog in `file`, which is made when it is absent. */
export function addReferences(file: string, fqrn: string, references: readonly Reference[], timestamp: number): void {
  const fresh = !fs.existsSync(file);
  const db = new Sqlite(file);
  try {
    db.pragma('journal_mode = OFF');
    db.pragma('synchronous = OFF');
    db.pragma('trusted_schema = OFF');
    db.exec('BEGIN');
    if (fresh) {
      db.exec(SCHEMA);
      db.prepare("INSERT INTO properties (key, value) VALUES ('fqrn', ?)").run(fqrn);
    }
    const insert = db.prepare('INSERT OR REPLACE INTO refs (hash, type, timestamp) VALUES (?, ?, ?)');
    for (const { hash, type } of references) insert.run(formatHash(hash), REFERENCE_TYPES[type], BigInt(timestamp));
    db.exec('COMMIT');
  } finally {
    db.close();
  }
}
