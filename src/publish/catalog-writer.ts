/**
 * Writes a catalog (spec 4.1, schema 2.5, revision 7) into a new SQLite file:
 *
 *     catalog          one row per entry, by the MD5 of its path; rowids dense from 1, since clients make inodes of them
 *     chunks           pieces of chunked files
 *     nested_catalogs  path, hash without letter, bytes of the decompressed file
 *     bind_mountpoints kept from catalogs that have them, never made here
 *     statistics       counters over the rows (catalog-statistics.ts)
 *     properties       schema, schema_revision, [root_prefix], [TTL], last_modified, revision, previous_revision
 *
 * Rows keep the order in which they come; what is kept of an older catalog comes first, in its old order. A catalog is
 * always written anew, never changed in place: no holes in the rowids, no free pages, no trace of an older schema.
 *
 * The file is private until it is complete, so it has no journal and is not synced: whoever dies starts from scratch.
 */
import * as fs from 'node:fs';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import { FLAG } from '../cvmfs/flags';
import { formatHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { pathKey } from '../cvmfs/path-key';
import { COUNTERS } from '../cvmfs/statistics';
import { addCounters, COUNTER_SQL, noCounters } from './catalog-statistics';
import type { CatalogStatistics, Counters } from './catalog-statistics';

const SCHEMA = `
CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER, hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,  CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2);
CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER,  hash BLOB,  CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),  FOREIGN KEY (md5path_1, md5path_2) REFERENCES    catalog(md5path_1, md5path_2));
CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_nested_catalogs PRIMARY KEY (path));
CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path));
CREATE TABLE statistics (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter));
`;
const COLUMNS = [
  'md5path_1',
  'md5path_2',
  'parent_1',
  'parent_2',
  'hardlinks',
  'hash',
  'size',
  'mode',
  'mtime',
  'mtimens',
  'flags',
  'name',
  'symlink',
  'uid',
  'gid',
  'xattr',
];
const SLASH = 0x2f;

export interface CatalogRow {
  /** Absolute in the repository, empty for its root. */
  readonly path: Buffer;
  readonly flags: number;
  /** Digest of the stored bytes of a file that is not chunked, else null. */
  readonly hash: Buffer | null;
  /** Bytes; of a link its target's; of a device its number (st_rdev). */
  readonly size: bigint | number;
  readonly mode: number;
  readonly mtime: number;
  /** null: not recorded. */
  readonly mtimeNs: number | null;
  readonly linkCount: number;
  /** 0: the only name of its file. */
  readonly hardlinkGroup: number;
  readonly uid: number;
  readonly gid: number;
  readonly symlink: Buffer;
  readonly xattrs: Buffer | null;
}

export interface ChunkRow {
  readonly offset: number;
  readonly size: number;
  readonly digest: Buffer;
}

export interface CatalogHeader {
  /** Mount path; empty for the root catalog. */
  readonly prefix: Buffer;
  readonly revision: number;
  /** Unix seconds. */
  readonly lastModified: number;
  /** The catalog that this one replaces. */
  readonly previous: ContentHash | undefined;
  /** Seconds; root catalogs only. */
  readonly ttlSeconds?: number;
  /** Further properties, kept from the replaced catalog (`volatile`, `voms_authz`). */
  readonly extra?: ReadonlyMap<string, string>;
}

/** Parent's path of `/a/b`, which is `/a`; of `/a` the empty path. */
export function parentPath(path: Buffer): Buffer {
  return path.subarray(0, path.lastIndexOf(SLASH));
}

export function baseName(path: Buffer): Buffer {
  return path.subarray(path.lastIndexOf(SLASH) + 1);
}

export function joinPath(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}

export class CatalogWriter {
  /** Counters of everything nested below; kept up through `addSubtree` by whoever adds, keeps and replaces references. */
  subtree: Counters = noCounters();
  private readonly db: Sqlite.Database;
  private readonly insertRow: Sqlite.Statement;
  private readonly insertChunk: Sqlite.Statement;
  private group = 0;

  constructor(
    readonly file: string,
    readonly prefix: Buffer,
  ) {
    this.db = new Sqlite(file);
    this.db.pragma('journal_mode = OFF');
    this.db.pragma('synchronous = OFF');
    this.db.pragma('locking_mode = EXCLUSIVE');
    this.db.pragma('foreign_keys = OFF');
    this.db.exec(SCHEMA);
    this.db.exec('BEGIN');
    this.insertRow = this.db.prepare(
      `INSERT INTO catalog (${COLUMNS.join(', ')}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?)`,
    );
    this.insertChunk = this.db.prepare('INSERT INTO chunks (md5path_1, md5path_2, offset, size, hash) VALUES (?, ?, ?, ?, ?)');
  }

  /** A number for a new group of hard links. */
  nextGroup(): number {
    this.group += 1;
    return this.group;
  }

  insert(row: CatalogRow, chunks: readonly ChunkRow[] = []): void {
    const key = pathKey(row.path);
    const parent = row.path.length === 0 ? { hi: 0n, lo: 0n } : pathKey(parentPath(row.path));
    const hardlinks = (BigInt(row.hardlinkGroup) << 32n) | BigInt(row.linkCount);
    const xattrs = row.xattrs;
    this.insertRow.run(
      key.hi,
      key.lo,
      parent.hi,
      parent.lo,
      hardlinks,
      row.hash,
      BigInt(row.size),
      BigInt(row.mode),
      BigInt(row.mtime),
      row.mtimeNs === null ? null : BigInt(row.mtimeNs),
      BigInt(row.flags),
      baseName(row.path),
      row.symlink,
      BigInt(row.uid),
      BigInt(row.gid),
      xattrs,
    );
    for (const chunk of chunks) this.insertChunk.run(key.hi, key.lo, BigInt(chunk.offset), BigInt(chunk.size), chunk.digest);
  }

  /** Adds the reference to a nested catalog, or replaces the one at the same path. */
  setNested(path: Buffer, hash: ContentHash, size: number): void {
    this.db.prepare('INSERT OR REPLACE INTO nested_catalogs (path, sha1, size) VALUES (CAST(? AS TEXT), ?, ?)').run(path, formatHash(hash), size);
  }

  /**
   * Takes over the rows of the catalog in `file`, except those at and below `without`, which must not be this catalog's
   * root. Returns the nested catalogs that were left out.
   */
  keep(file: string, without?: Buffer): Array<{ path: Buffer; hash: string }> {
    // Attaching is not possible inside a transaction.
    this.db.exec('COMMIT');
    this.db.prepare('ATTACH ? AS old').run(file);
    this.db.exec('BEGIN');
    const columns = new Set((this.db.pragma('old.table_info(catalog)') as Array<{ name: string }>).map((column) => column.name));
    const source = COLUMNS.map((column) => (columns.has(column) ? column : 'NULL')).join(', ');
    this.db.exec('CREATE TEMP TABLE gone (hi INTEGER, lo INTEGER, PRIMARY KEY (hi, lo))');
    if (without !== undefined) {
      const key = pathKey(without);
      // UNION, not UNION ALL: a damaged catalog with a loop of parents must not keep us for ever.
      this.db
        .prepare(
          `INSERT INTO gone WITH RECURSIVE sub(hi, lo) AS (VALUES (?, ?) UNION
             SELECT md5path_1, md5path_2 FROM old.catalog, sub WHERE parent_1 = hi AND parent_2 = lo) SELECT hi, lo FROM sub`,
        )
        .run(key.hi, key.lo);
    }
    const stays = 'NOT EXISTS (SELECT 1 FROM gone WHERE hi = md5path_1 AND lo = md5path_2)';
    this.db.exec(`INSERT INTO catalog (${COLUMNS.join(', ')}) SELECT ${source} FROM old.catalog WHERE ${stays} ORDER BY rowid`);
    this.db.exec(
      `INSERT INTO chunks (md5path_1, md5path_2, offset, size, hash) SELECT md5path_1, md5path_2, offset, size, hash FROM old.chunks WHERE ${stays} ORDER BY rowid`,
    );
    const lost = this.keepMountpoints('nested_catalogs', without);
    this.keepMountpoints('bind_mountpoints', without);
    this.group = Number((this.db.prepare('SELECT coalesce(max(hardlinks >> 32), 0) AS top FROM catalog').get() as { top: number }).top);
    this.db.exec('COMMIT; DETACH old; DROP TABLE gone; BEGIN');
    return lost;
  }

  /** Changes how many names a directory that was kept says to have. */
  addLinks(path: Buffer, change: number): void {
    const key = pathKey(path);
    this.db.prepare('UPDATE catalog SET hardlinks = max(hardlinks + ?, 1) WHERE md5path_1 = ? AND md5path_2 = ?').run(change, key.hi, key.lo);
  }

  /** Takes a name out of a group of hard links: the names that stay count one less. */
  shrinkGroup(group: number): void {
    this.db
      .prepare('UPDATE catalog SET hardlinks = CASE WHEN hardlinks & 0xffffffff > 2 THEN hardlinks - 1 ELSE 1 END WHERE hardlinks >> 32 = ?')
      .run(group);
  }

  /** Completes the file and closes it. */
  finish(header: CatalogHeader): CatalogStatistics {
    const self = this.count();
    const statistics: CatalogStatistics = { self, subtree: this.subtree };
    const counter = this.db.prepare('INSERT INTO statistics (counter, value) VALUES (?, ?)');
    const names = [...COUNTERS].sort();
    for (const name of names) counter.run(`self_${name}`, BigInt(self[name]));
    for (const name of names) counter.run(`subtree_${name}`, BigInt(this.subtree[name]));
    const property = this.db.prepare('INSERT INTO properties (key, value) VALUES (?, CAST(? AS TEXT))');
    property.run('schema', '2.5');
    property.run('schema_revision', '7');
    if (header.prefix.length > 0) property.run('root_prefix', header.prefix);
    for (const [name, value] of header.extra ?? []) property.run(name, value);
    if (header.ttlSeconds !== undefined) property.run('TTL', String(header.ttlSeconds));
    property.run('last_modified', String(header.lastModified));
    property.run('revision', String(header.revision));
    // The null hash is written without a suffix, whatever the repository's algorithm.
    property.run('previous_revision', header.previous === undefined ? '0'.repeat(40) : formatHash(header.previous));
    this.db.exec('COMMIT');
    this.db.close();
    return statistics;
  }

  /** Gives the file up. */
  discard(): void {
    if (this.db.open) this.db.close();
    fs.rmSync(this.file, { force: true });
  }

  /** Whether the rows, chunks and nested catalogs are those of the catalog in `file`, whatever their order. */
  sameAs(file: string): boolean {
    this.db.exec('COMMIT');
    this.db.prepare('ATTACH ? AS old').run(file);
    this.db.exec('BEGIN');
    try {
      const old = new Set((this.db.pragma('old.table_info(catalog)') as Array<{ name: string }>).map((column) => column.name));
      if (!COLUMNS.every((column) => old.has(column))) return false;
      return (
        this.sameRows('catalog', COLUMNS.join(', ')) &&
        this.sameRows('chunks', 'md5path_1, md5path_2, offset, size, hash') &&
        this.sameRows('nested_catalogs', 'path, sha1, size') &&
        this.sameRows('bind_mountpoints', 'path, sha1, size')
      );
    } finally {
      this.db.exec('COMMIT; DETACH old; BEGIN');
    }
  }

  private sameRows(table: string, columns: string): boolean {
    const { mine, theirs } = this.db
      .prepare(`SELECT (SELECT count(*) FROM main.${table}) AS mine, (SELECT count(*) FROM old.${table}) AS theirs`)
      .get() as {
      mine: number;
      theirs: number;
    };
    // Keys are unique in both, so with equal counts one direction is enough.
    return (
      mine === theirs &&
      this.db.prepare(`SELECT ${columns} FROM main.${table} EXCEPT SELECT ${columns} FROM old.${table} LIMIT 1`).get() === undefined
    );
  }

  private keepMountpoints(table: string, without: Buffer | undefined): Array<{ path: Buffer; hash: string }> {
    const present = this.db.prepare('SELECT 1 FROM old.sqlite_master WHERE name = ?').get(table);
    if (present === undefined) return [];
    const rows = this.db.prepare(`SELECT CAST(path AS BLOB) AS path, sha1 AS hash, size FROM old.${table} ORDER BY rowid`).all() as Array<{
      path: Buffer;
      hash: string;
      size: number;
    }>;
    const insert = this.db.prepare(`INSERT INTO ${table} (path, sha1, size) VALUES (CAST(? AS TEXT), ?, ?)`);
    const lost: Array<{ path: Buffer; hash: string }> = [];
    for (const { path, hash, size } of rows) {
      if (without !== undefined && isAtOrBelow(path, without)) lost.push({ path, hash });
      else insert.run(path, hash, BigInt(size));
    }
    return lost;
  }

  private count(): Counters {
    return Object.fromEntries(COUNTERS.map((name) => [name, (this.db.prepare(COUNTER_SQL[name]).pluck().get() as number) ?? 0])) as Counters;
  }

  /** Adds (or with −1 takes away) what a nested catalog counts. */
  addSubtree(total: Counters, sign: 1 | -1): void {
    this.subtree = addCounters(this.subtree, total, sign);
    const negative = COUNTERS.find((name) => this.subtree[name] < 0);
    if (negative !== undefined) {
      throw new Failure(
        'CATALOG_INVALID',
        `the counter subtree_${negative} of the catalog at /${this.prefix.toString().slice(1)} is lower than those of the catalogs in it`,
        {
          next: 'run `repo check`',
        },
      );
    }
  }
}

/** True for the path itself and for what is in it; `/foobar` is not in `/foo`. */
export function isAtOrBelow(path: Buffer, directory: Buffer): boolean {
  if (directory.length === 0) return true;
  if (!path.subarray(0, directory.length).equals(directory)) return false;
  return path.length === directory.length || path[directory.length] === SLASH;
}

/** Flags of a directory's row, by the part it plays. */
export const DIRECTORY_FLAGS = {
  plain: FLAG.directory,
  mountpoint: FLAG.directory | FLAG.nestedMountpoint,
  nestedRoot: FLAG.directory | FLAG.nestedRoot,
} as const;
