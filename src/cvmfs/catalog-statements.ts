/**
 * The queries of a catalog. Each one seeks in the row order or in an index that it names, and its conditions are all in
 * that index or it has a LIMIT: a condition that is tried row by row would let a hostile b-tree keep SQLite busy for ever.
 */
import { entryColumns, EXACT_COLUMNS } from './catalog-entry';
import { MAX_NESTED } from './catalog-rows';
import { bounded, bytes, integer } from './database';
import type { Database } from './database';
import { DIGEST_BYTES } from './hash';

const COLUMNS = ['md5path_1', 'md5path_2', 'parent_1', 'parent_2', 'hardlinks', 'hash', 'size', 'mode', 'mtime', 'flags', 'name', 'symlink', 'uid', 'gid'];

export type CatalogStatements = ReturnType<typeof prepareStatements>;

/** CATALOG_INVALID when a table, a column or an index is missing or not ordinary. */
export function prepareStatements(database: Database) {
  database.require('catalog', COLUMNS);
  const present = database.columns('catalog') ?? new Set();
  const columns = (known: 'nothing' | 'key' | 'parent'): string => entryColumns({ xattr: present.has('xattr'), mtimens: present.has('mtimens') }, known);
  const byPath = database.index('catalog', ['md5path_1', 'md5path_2']);
  const byParent = database.index('catalog', ['parent_1', 'parent_2']);
  const mountpoints = [
    { table: 'nested_catalogs', bind: false },
    { table: 'bind_mountpoints', bind: true },
  ].filter(({ table }) => database.columns(table) !== undefined);
  for (const { table } of mountpoints) database.require(table, ['path', 'sha1']);
  const nestedColumns = (table: string): string =>
    `${bytes('path', 65536)}, ${bounded('sha1', 64)}, ${database.columns(table)?.has('size') === true ? integer('size') : '0'}`;
  let chunks;
  if (database.columns('chunks') !== undefined) {
    database.require('chunks', ['md5path_1', 'md5path_2', 'offset', 'size', 'hash']);
    const byFile = database.index('chunks', ['md5path_1', 'md5path_2', 'offset']);
    const chunkColumns = `${integer('offset')}, ${integer('size')}, ${bounded('hash', DIGEST_BYTES)}`;
    chunks = database.prepare(`SELECT ${chunkColumns} FROM chunks INDEXED BY ${byFile} WHERE md5path_1 = ? AND md5path_2 = ? ORDER BY offset`).raw();
  }
  return {
    extremes: database.prepare('SELECT (SELECT min(rowid) FROM catalog), (SELECT max(rowid) FROM catalog)').raw(),
    byRowid: database.prepare(`SELECT ${columns('nothing')} FROM catalog NOT INDEXED WHERE rowid = ?`).raw(),
    byKey: database.prepare(`SELECT ${columns('key')} FROM catalog INDEXED BY ${byPath} WHERE md5path_1 = ? AND md5path_2 = ? LIMIT 1`).raw(),
    children: database
      .prepare(`SELECT ${columns('parent')} FROM catalog INDEXED BY ${byParent} WHERE parent_1 = ? AND parent_2 = ? AND rowid > ? ORDER BY rowid LIMIT ?`)
      .raw(),
    all: database.prepare(`SELECT ${columns('nothing')} FROM catalog NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?`).raw(),
    exact: database.prepare(`SELECT ${EXACT_COLUMNS} FROM catalog NOT INDEXED WHERE rowid = ?`).raw(),
    chunks,
    nested: mountpoints.map(({ table, bind }) => ({
      bind,
      statement: database.prepare(`SELECT ${nestedColumns(table)} FROM ${table} NOT INDEXED LIMIT ${MAX_NESTED + 1}`).raw(),
    })),
    nestedAt: mountpoints.map(({ table, bind }) => ({
      bind,
      statement: database
        .prepare(`SELECT ${nestedColumns(table)} FROM ${table} INDEXED BY ${database.index(table, ['path'])} WHERE path = CAST(? AS TEXT) LIMIT 1`)
        .raw(),
    })),
  };
}
