/**
 * Writes the history, a repository's named snapshots (spec 1.5, schema 1.0 revision 3; read by ../cvmfs/history.ts).
 * Every publish makes a new one from the one before: its own tag if it has a name, and the two that allow one step back,
 * `trunk` (this revision) and `trunk-previous` (the one that was trunk).
 */
import * as fs from 'node:fs';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import { formatHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { History } from '../cvmfs/history';

const SCHEMA = `
CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER,  CONSTRAINT pk_branch PRIMARY KEY (branch),   FOREIGN KEY (parent) REFERENCES branches (branch),   CHECK ((branch <> '') OR (parent IS NULL)),   CHECK ((branch = '') OR (parent IS NOT NULL)));
CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER,   timestamp INTEGER, channel INTEGER, description TEXT, size INTEGER,   branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name),   FOREIGN KEY (branch) REFERENCES branches (branch));
CREATE TABLE recycle_bin (hash TEXT, flags INTEGER,   CONSTRAINT pk_hash PRIMARY KEY (hash));
INSERT INTO branches (branch, parent, initial_revision) VALUES ('', NULL, 0);
INSERT INTO properties (key, value) VALUES ('schema', '1.0'), ('schema_revision', '3');
`;
const TRUNK = 'trunk';
const TRUNK_PREVIOUS = 'trunk-previous';
const MAX_TAG_BYTES = 255;
const MAX_DESCRIPTION_BYTES = 4096;

export interface NewRevision {
  readonly rootHash: ContentHash;
  readonly rootSize: number;
  readonly revision: number;
  /** Unix seconds. */
  readonly timestamp: number;
  /** A name for it, checked by `checkTag`. */
  readonly tag?: string;
  readonly message?: string;
}

/** INVALID_ARGUMENT for what is no tag's name or description. */
export function checkTag(tag: string, message = ''): void {
  if (!/^[A-Za-z0-9._/:-]+$/.test(tag) || tag.length > MAX_TAG_BYTES) {
    throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(tag.slice(0, 80))} is not a tag`, {
      next: 'a tag has letters, digits and - _ . / : only',
    });
  }
  if (tag === TRUNK || tag === TRUNK_PREVIOUS)
    throw new Failure('INVALID_ARGUMENT', `the tag ${tag} is kept by every publish itself`, { next: 'choose another name' });
  if (Buffer.byteLength(message) > MAX_DESCRIPTION_BYTES)
    throw new Failure('INVALID_ARGUMENT', `the message has more than ${MAX_DESCRIPTION_BYTES} bytes`);
}

/** Turns the history in `file` (absent: the first one) into that of the new revision. */
export function writeHistory(file: string, fqrn: string, previous: ContentHash | undefined, revision: NewRevision): void {
  const fresh = !fs.existsSync(file);
  // Whoever wrote it before, it is read as a stranger's first.
  if (!fresh) History.read(file);
  const db = new Sqlite(file);
  try {
    db.pragma('journal_mode = OFF');
    db.pragma('synchronous = OFF');
    db.pragma('trusted_schema = OFF');
    db.exec('BEGIN');
    if (fresh) db.exec(SCHEMA);
    const property = db.prepare('INSERT OR REPLACE INTO properties (key, value) VALUES (?, ?)');
    if (fresh) property.run('fqrn', fqrn);
    if (previous !== undefined) property.run('previous_revision', formatHash(previous));

    const insert = db.prepare(
      "INSERT INTO tags (name, hash, revision, timestamp, channel, description, size, branch) VALUES (?, ?, ?, ?, 0, ?, ?, '')",
    );
    const add = (name: string, description: string): void => {
      insert.run(name, formatHash(revision.rootHash), BigInt(revision.revision), BigInt(revision.timestamp), description, BigInt(revision.rootSize));
    };
    if (revision.tag !== undefined) add(revision.tag, revision.message ?? '');
    db.prepare('DELETE FROM tags WHERE name = ?').run(TRUNK_PREVIOUS);
    db.prepare(
      `INSERT INTO tags (name, hash, revision, timestamp, channel, description, size, branch)
       SELECT ?, hash, revision, timestamp, channel, 'default undo target', size, branch FROM tags WHERE name = ?`,
    ).run(TRUNK_PREVIOUS, TRUNK);
    db.prepare('DELETE FROM tags WHERE name = ?').run(TRUNK);
    add(TRUNK, 'current HEAD');
    db.exec('COMMIT');
  } finally {
    db.close();
  }
}
