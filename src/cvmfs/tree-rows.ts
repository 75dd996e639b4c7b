/**
 * The rows of a catalog, read from its b-trees by ourselves: the inner loop of everything that a mount answers. SQLite
 * through its binding does 0.1 M lookups/s; and it would be 2 MiB of page cache and a parsed schema for each open catalog.
 */
import { CatalogRow, ROW_COLUMNS } from './catalog-row';
import { MAX_NESTED } from './catalog-rows';
import type { CatalogRows, NumberedEntry, RawChunk, RawNested, RowScan } from './catalog-rows';
import type { PathKey } from './path-key';
import { IndexTree, TableTree } from './sqlite/btree';
import type { IndexKey } from './sqlite/btree';
import { PageFile } from './sqlite/page-file';
import type { PagePool } from './sqlite/page-file';
import { RecordReader } from './sqlite/record';
import { parseIndex, parseTable } from './sqlite/statement';
import type { TableShape } from './sqlite/statement';
import type { Failure } from '../error';

const LATE: readonly string[] = ['xattr', 'mtimens'];
const TWO_32 = 4294967296;
const PAIRS_MAX = 1_000;
const PAIR_KEY_BYTES = 256;
const PATH_BYTES = 65_536;
const HASH_TEXT_BYTES = 64;
/** A chunk's hash is looked at by the caller; what is longer than any is not read. */
const DIGEST_BYTES_MAX = 64;

interface Table extends TableShape {
  readonly name: string;
  readonly rootPage: number;
}

/** A table of attached catalogs, and its index of paths. */
interface Attached {
  readonly bind: boolean;
  readonly tree: TableTree;
  readonly byPath: IndexTree;
  readonly record: RecordReader;
}

/** A small table of a text and a value. */
interface Pairs {
  readonly name: string;
  readonly tree: TableTree;
  readonly record: RecordReader;
}

/** The file is of a shape that only SQLite understands. */
class Unfamiliar extends Error {}

/** Opens a catalog's file, or answers why SQLite should. Throws the Failure of a file that is damaged or not to be read. */
export function openTreeRows(path: string, what: string, pool: PagePool): CatalogRows | { readonly unfamiliar: string } {
  const file = new PageFile(path, 'CATALOG_INVALID', what, pool);
  try {
    return new TreeRows(file);
  } catch (error) {
    file.close();
    if (error instanceof Unfamiliar) return { unfamiliar: error.message };
    throw error;
  }
}

class TreeRows implements CatalogRows {
  readonly #file: PageFile;
  readonly #properties: Pairs | null;
  readonly #statistics: Pairs | null;
  readonly #rows: TableTree;
  readonly #row: CatalogRow;
  readonly #byKey: IndexTree;
  readonly #byParent: IndexTree;
  readonly #attached: readonly Attached[];
  readonly #chunks: { readonly tree: TableTree; readonly byFile: IndexTree; readonly record: RecordReader } | null;
  /** Used again for each search. */
  readonly #key2: { high: number[]; low: number[]; text: null } = { high: [0, 0], low: [0, 0], text: null };
  readonly #key3: { high: number[]; low: number[]; text: null } = { high: [0, 0, 0], low: [0, 0, 0], text: null };

  constructor(file: PageFile) {
    this.#file = file;
    const catalog = this.#table('catalog');
    this.#properties = this.#pairsOf('properties', 'key');
    this.#statistics = this.#pairsOf('statistics', 'counter');
    if (catalog === null || this.#properties === null) throw new Unfamiliar('it lacks a table');
    const types = ROW_COLUMNS.map((name) => (name === 'name' || name === 'symlink' ? 'TEXT' : name === 'hash' || name === 'xattr' ? 'BLOB' : 'INTEGER'));
    this.#rows = new TableTree(file, catalog.rootPage);
    this.#row = new CatalogRow(file, ROW_COLUMNS.map((name, i) => this.#column(catalog, name, types[i]!, LATE.includes(name))));
    this.#byKey = this.#index(catalog, ['md5path_1', 'md5path_2']);
    this.#byParent = this.#index(catalog, ['parent_1', 'parent_2']);
    this.#attached = [
      { name: 'nested_catalogs', bind: false },
      { name: 'bind_mountpoints', bind: true },
    ].flatMap(({ name, bind }) => {
      const table = this.#table(name);
      if (table === null) return [];
      const columns = [this.#column(table, 'path', 'TEXT'), this.#column(table, 'sha1', 'TEXT'), this.#column(table, 'size', 'INTEGER', true)];
      return [{ bind, tree: new TableTree(file, table.rootPage), byPath: this.#index(table, ['path']), record: new RecordReader(file, columns) }];
    });
    const chunks = this.#table('chunks');
    this.#chunks = chunks && {
      tree: new TableTree(file, chunks.rootPage),
      byFile: this.#index(chunks, ['md5path_1', 'md5path_2', 'offset', 'size']),
      record: new RecordReader(file, [this.#column(chunks, 'offset', 'INTEGER'), this.#column(chunks, 'size', 'INTEGER'), this.#column(chunks, 'hash', 'BLOB')]),
    };
  }

  #table(name: string): Table | null {
    const object = this.#file.schema.find((each) => each.type === 'table' && each.name === name);
    if (object === undefined) return null;
    const shape = parseTable(object.sql);
    if (shape === null || object.rootPage < 2) throw new Unfamiliar(`its table ${name} was not made as the tools make it`);
    // The row number under another name: a row has no value of its own there.
    const alias = shape.primaryKey.length === 1 && shape.columns.some((column) => column.name === shape.primaryKey[0] && column.type === 'INTEGER');
    if (alias) throw new Unfamiliar(`table ${name} has a row number of its own`);
    return { name, rootPage: object.rootPage, ...shape };
  }

  #column(table: Table, name: string, type: string, mayLack = false): number {
    const position = table.columns.findIndex((column) => column.name === name);
    if (position < 0 && mayLack) return -1;
    const found = table.columns[position]?.type;
    if (found !== type && !(type === 'INTEGER' && found === 'INT')) throw new Unfamiliar(`table ${table.name} has no ${type} column ${name}`);
    return position;
  }

  /** An index over exactly these columns. */
  #index(table: Table, columns: readonly string[]): IndexTree {
    for (const { type, name, table: of, sql, rootPage } of this.#file.schema) {
      if (type !== 'index' || of !== table.name || rootPage < 2) continue;
      // SQLite makes an index by itself for a primary key; it has no statement of its own.
      const shape = sql === '' && name === `sqlite_autoindex_${table.name}_1` ? { table: table.name, columns: table.primaryKey } : parseIndex(sql);
      if (shape === null || shape.table !== table.name || shape.columns.join() !== columns.join()) continue;
      return new IndexTree(this.#file, rootPage, columns.length + 1);
    }
    throw new Unfamiliar(`table ${table.name} has no plain index on ${columns.join(', ')}`);
  }

  refuse(why: string): Failure {
    return this.#file.refuse(why);
  }

  extremes(): { lowest: number | null; highest: number | null } {
    return { lowest: this.#rows.lowest(), highest: this.#rows.highest() };
  }

  properties(): ReadonlyMap<string, Buffer> {
    return this.#read(this.#properties!);
  }

  statistics(): ReadonlyMap<string, Buffer> | undefined {
    return this.#statistics === null ? undefined : this.#read(this.#statistics);
  }

  #pairsOf(name: string, key: string): Pairs | null {
    const table = this.#table(name);
    if (table === null) return null;
    const value = table.columns.findIndex((column) => column.name === 'value');
    if (value < 0) throw new Unfamiliar(`table ${name} has no column value`);
    return { name, tree: new TableTree(this.#file, table.rootPage), record: new RecordReader(this.#file, [this.#column(table, key, 'TEXT'), value]) };
  }

  #read({ name, tree, record }: Pairs): Map<string, Buffer> {
    const pairs = new Map<string, Buffer>();
    let rows = 0;
    // Row numbers start anywhere, but rise.
    for (let at = tree.findFrom(-Infinity); at !== -1; at = tree.findFrom(at + 1)) {
      if ((rows += 1) > PAIRS_MAX) throw this.refuse(`table ${name} has more than ${PAIRS_MAX} rows`);
      record.read(tree.payload);
      const text = record.isText(0) ? record.copy(0, PAIR_KEY_BYTES) : null;
      const bytes = record.isInteger(1) ? Buffer.from(String(record.integer(1))) : record.copy(1, PATH_BYTES);
      if (text !== null && bytes !== null) pairs.set(text.toString(), bytes);
    }
    return pairs;
  }

  byRowid(rowid: number): NumberedEntry | undefined {
    if (!this.#rows.find(rowid)) return undefined;
    this.#row.read(this.#rows.payload, rowid);
    return { rowid, entry: this.#row.fit ? this.#row.entry() : undefined };
  }

  byKey(key: PathKey): NumberedEntry | undefined {
    const search = setKey(this.#key2, key);
    if (!this.#byKey.find(search) || !this.#byKey.startsWith(search, 2)) return undefined;
    const { rowid } = this.#byKey;
    this.#find(rowid);
    return { rowid, entry: this.#row.fit ? this.#row.entry({ key }) : undefined };
  }

  /** Reads the row that an index has promised. */
  #find(rowid: number): void {
    if (!this.#rows.find(rowid)) throw this.refuse(`an index refers to row ${rowid}, which is not there`);
    this.#row.read(this.#rows.payload, rowid);
  }

  /** Numbers of a directory's rows above `after` into `into`; how many. */
  #childRowids(parent: PathKey, after: number, into: Float64Array): number {
    const search = setKey(this.#key3, parent);
    let count = 0;
    for (let last = after; count < into.length; ) {
      search.high[2] = Math.floor((last + 1) / TWO_32);
      search.low[2] = (last + 1) % TWO_32;
      if (!this.#byParent.find(search)) return count;
      do {
        if (!this.#byParent.startsWith(search, 2)) return count;
        const { rowid } = this.#byParent;
        // Rows that do not ascend are a b-tree with shared pages: a listing without end.
        if (!(rowid > last)) throw this.refuse('its index of directories is not in order');
        into[count] = last = rowid;
        count += 1;
      } while (count < into.length && this.#byParent.next());
    }
    return count;
  }

  children(parent: PathKey, after: number, limit: number): NumberedEntry[] {
    const rowids = new Float64Array(limit);
    const found = rowids.subarray(0, this.#childRowids(parent, after, rowids));
    return Array.from(found, (rowid) => {
      this.#find(rowid);
      return { rowid, entry: this.#row.fit ? this.#row.entry({ parent }) : undefined };
    });
  }

  scan(parent: PathKey, after: number, limit: number): RowScan {
    const rowids = new Float64Array(limit);
    const count = this.#childRowids(parent, after, rowids);
    let at = 0;
    return {
      row: this.#row,
      next: () => {
        if (at === count) return false;
        this.#find(rowids[at]!);
        at += 1;
        return true;
      },
    };
  }

  all(after: number, limit: number): NumberedEntry[] {
    const rows: NumberedEntry[] = [];
    for (let at = this.#rows.findFrom(after + 1); at !== -1 && rows.length < limit; at = this.#rows.findFrom(at + 1)) {
      this.#row.read(this.#rows.payload, at);
      rows.push({ rowid: at, entry: this.#row.fit ? this.#row.entry() : undefined });
    }
    return rows;
  }

  nestedAt(path: Buffer): RawNested | undefined {
    const search = { high: [], low: [], text: path };
    for (const { bind, tree, byPath, record } of this.#attached) {
      if (!byPath.find(search) || !byPath.startsWith(search, 1)) continue;
      if (!tree.find(byPath.rowid)) throw this.refuse(`an index refers to row ${byPath.rowid}, which is not there`);
      record.read(tree.payload);
      return rawNested(record, bind);
    }
    return undefined;
  }

  nested(): RawNested[] {
    return this.#attached.flatMap(({ bind, tree, record }) => {
      const found: RawNested[] = [];
      for (let at = tree.findFrom(-Infinity); at !== -1 && found.length <= MAX_NESTED; at = tree.findFrom(at + 1)) {
        record.read(tree.payload);
        found.push(rawNested(record, bind));
      }
      return found;
    });
  }

  chunks(key: PathKey): Iterable<RawChunk> | undefined {
    return this.#chunks === null ? undefined : this.#chunksOf(key, this.#chunks);
  }

  *#chunksOf(key: PathKey, { tree, byFile, record }: { tree: TableTree; byFile: IndexTree; record: RecordReader }): Iterable<RawChunk> {
    const search: IndexKey = { high: [0, 0, -0x80000000, -0x80000000], low: [0, 0, 0, 0], text: null };
    setKey(search, key);
    while (byFile.find(search) && byFile.startsWith(search, 2)) {
      const { entry, rowid } = byFile;
      if (!entry.isInteger(2) || !entry.isInteger(3)) throw this.refuse('a chunk has no place or size');
      // From here on: the next one in the order of offset and size.
      for (const slot of [2, 3]) {
        entry.halves(slot);
        search.high[slot] = entry.high;
        search.low[slot] = entry.low;
      }
      if ((search.low[3] = search.low[3]! + 1) === TWO_32) [search.low[3], search.high[3]] = [0, search.high[3]! + 1];
      if (!tree.find(rowid)) throw this.refuse(`an index refers to row ${rowid}, which is not there`);
      record.read(tree.payload);
      yield { offset: number(record, 0), size: number(record, 1), hash: record.isBlob(2) ? record.copy(2, DIGEST_BYTES_MAX) : null };
    }
  }

  close(): void {
    this.#file.close();
  }
}

function setKey<K extends IndexKey>(search: K, key: PathKey): K {
  search.high[0] = Number(key.hi >> 32n);
  search.low[0] = Number(key.hi & 0xffffffffn);
  search.high[1] = Number(key.lo >> 32n);
  search.low[1] = Number(key.lo & 0xffffffffn);
  return search;
}

function number(record: RecordReader, slot: number): number | null {
  return record.isInteger(slot) ? record.integer(slot) : null;
}

function rawNested(record: RecordReader, bind: boolean): RawNested {
  return { path: record.copy(0, PATH_BYTES), hash: record.isText(1) ? (record.copy(1, HASH_TEXT_BYTES)?.toString() ?? null) : null, size: number(record, 2), bind };
}
