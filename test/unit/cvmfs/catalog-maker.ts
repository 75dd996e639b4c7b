/** Small catalogs for tests, good ones and hostile ones, written as the stock tools write them. */
import Sqlite from 'better-sqlite3';
import { pathKey } from '../../../src/cvmfs/path-key';

export const CATALOG_COLUMNS =
  'md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER, hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER, flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB';

export const SCHEMA: Readonly<Record<string, string>> = {
  properties: 'CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key))',
  catalog: `CREATE TABLE catalog (${CATALOG_COLUMNS}, CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2))`,
  idx_catalog_parent: 'CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2)',
  chunks:
    'CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB, CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size), FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog(md5path_1, md5path_2))',
  nested_catalogs: 'CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_nested_catalogs PRIMARY KEY (path))',
  bind_mountpoints: 'CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER, CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path))',
  statistics: 'CREATE TABLE statistics (counter TEXT, value INTEGER, CONSTRAINT pk_statistics PRIMARY KEY (counter))',
};

export interface Row {
  /** Path that the key is made of; '' for the root. */
  path: string | Buffer;
  parent?: string | Buffer | null;
  name?: string | Buffer | number | null;
  rowid?: number | bigint;
  flags?: number;
  mode?: number;
  size?: number | bigint | string;
  hash?: Buffer | null;
  hardlinks?: bigint;
  symlink?: string | Buffer | null;
  xattr?: Buffer | null;
  mtime?: number;
  mtimens?: number | null;
  uid?: number | string;
}

export interface Recipe {
  schema?: Partial<Record<string, string>>;
  /** Run before the tables are made. */
  before?: (db: Sqlite.Database) => void;
  properties?: Record<string, string>;
  rows?: readonly Row[];
  chunks?: ReadonlyArray<{ path: string; offset: number | bigint; size: number | bigint; hash?: Buffer | null }>;
  nested?: ReadonlyArray<{ table?: string; path: string | Buffer; sha1: string; size?: number }>;
  /** Run at the end. */
  after?: (db: Sqlite.Database) => void;
}

export const DIRECTORY = { flags: 1, mode: 0o40755, size: 4096 } as const;
export const ROOT: Row = { path: '', parent: null, name: '', ...DIRECTORY };

const bytes = (path: string | Buffer): Buffer => (typeof path === 'string' ? Buffer.from(path) : path);

/** Default row: a regular file with a hash, named and placed as its path says. */
export function insertRow(db: Sqlite.Database, row: Row): void {
  const path = bytes(row.path);
  const slash = path.lastIndexOf(0x2f);
  const key = pathKey(path);
  const parent = row.parent === null ? { hi: 0n, lo: 0n } : pathKey(bytes(row.parent ?? path.subarray(0, Math.max(0, slash))));
  const name = row.name === undefined ? path.subarray(slash + 1) : row.name;
  const columns: Record<string, unknown> = {
    md5path_1: key.hi,
    md5path_2: key.lo,
    parent_1: parent.hi,
    parent_2: parent.lo,
    hardlinks: row.hardlinks ?? 1n,
    hash: row.hash === undefined ? ((row.flags ?? 4) === 4 ? Buffer.alloc(20, 7) : null) : row.hash,
    size: row.size ?? 10,
    mode: row.mode ?? 0o100644,
    mtime: row.mtime ?? 1,
    mtimens: row.mtimens ?? null,
    flags: row.flags ?? 4,
    name,
    symlink: row.symlink ?? null,
    uid: row.uid ?? 0,
    gid: 0,
    xattr: row.xattr ?? null,
    ...(row.rowid === undefined ? {} : { rowid: row.rowid }),
  };
  const text = new Set(['name', 'symlink']);
  const names = Object.keys(columns);
  // Names are TEXT in a catalog, also when they are not UTF-8.
  const places = names.map((column) => (text.has(column) && Buffer.isBuffer(columns[column]) ? 'CAST(? AS TEXT)' : '?'));
  db.prepare(`INSERT INTO catalog (${names.join(', ')}) VALUES (${places.join(', ')})`).run(...names.map((column) => columns[column]));
}

export function makeCatalog(file: string, recipe: Recipe = {}): string {
  const db = new Sqlite(file);
  db.pragma('foreign_keys = off');
  db.pragma('synchronous = off');
  db.pragma('journal_mode = memory');
  recipe.before?.(db);
  for (const sql of Object.values({ ...SCHEMA, ...recipe.schema })) if (sql !== undefined && sql !== '') db.exec(sql);
  const property = db.prepare('INSERT INTO properties (key, value) VALUES (?, ?)');
  for (const [key, value] of Object.entries({ schema: '2.5', schema_revision: '7', revision: '3', ...recipe.properties })) property.run(key, value);
  db.transaction(() => (recipe.rows ?? [ROOT]).forEach((row) => insertRow(db, row)))();
  for (const { path, offset, size, hash = Buffer.alloc(20, 9) } of recipe.chunks ?? []) {
    const key = pathKey(Buffer.from(path));
    db.prepare('INSERT INTO chunks (md5path_1, md5path_2, offset, size, hash) VALUES (?, ?, ?, ?, ?)').run(key.hi, key.lo, offset, size, hash);
  }
  for (const { table = 'nested_catalogs', path, sha1, size = 0 } of recipe.nested ?? []) {
    db.prepare(`INSERT INTO ${table} (path, sha1, size) VALUES (CAST(? AS TEXT), ?, ?)`).run(bytes(path), sha1, size);
  }
  recipe.after?.(db);
  db.close();
  return file;
}
