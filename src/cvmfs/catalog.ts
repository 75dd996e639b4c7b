/**
 * A catalog: one SQLite file that holds a part of the repository's tree (spec 4). This reads schema versions 2.4 and
 * 2.5; columns are asked for by name, since an upgraded catalog has the late ones last. The file must be local,
 * decompressed and unchanging. Everything in it is a stranger's: see sqlite/ and catalog-entry.ts for what is refused.
 *
 * Costs: a lookup is one b-tree search. Nothing here reads the whole table except `lowestRowidOfGroup` without a parent.
 */
import { Failure } from '../error';
import { isEntryPath } from './catalog-entry';
import type { CatalogEntry, ListedEntry } from './catalog-entry';
import { MAX_NESTED } from './catalog-rows';
import type { CatalogRows, NumberedEntry, RawNested } from './catalog-rows';
import { isChunked, isDirectory } from './flags';
import { DIGEST_BYTES, parseHash } from './hash';
import type { ContentHash } from './hash';
import { HardlinkGroups } from './hardlink-groups';
import { pathKey, samePathKey } from './path-key';
import type { PathKey } from './path-key';
import type { SqlRows } from './sql-rows';
import { PagePool } from './sqlite/page-file';
import { openTreeRows } from './tree-rows';

export type { CatalogEntry, ListedEntry } from './catalog-entry';

/** A catalog that is attached to this one. */
export interface NestedCatalog {
  /** Where it is attached, absolute from the root of this catalog's tree. */
  readonly path: Buffer;
  readonly hash: ContentHash;
  /** Bytes of the decompressed file; 0 where the publisher did not say. */
  readonly size: number;
  /** True for the root catalog of another revision, attached deeper (spec 4.6). */
  readonly bind: boolean;
}

export interface Chunk {
  readonly offset: number;
  readonly size: number;
  /** Digest of the stored bytes; algorithm and compression are those of the file's flags. */
  readonly hash: Buffer;
}

export interface OpenOptions {
  /** Refuse what is not the root catalog of a repository. */
  readonly expectRoot?: boolean;
  /** Pages in memory, to be shared by all catalogs of a thread; one of its own without. */
  readonly pool?: PagePool;
  /** Told when the file has to be read through SQLite, with the reason. */
  readonly unfamiliar?: (why: string) => void;
}

/** Pages of a catalog that is opened alone. */
const OWN_POOL_BYTES = 1 << 20;
const MAX_ROWID = 0xffffffff;
/** 4 TiB of chunks at the usual 4 MiB. */
const MAX_CHUNKS = 1 << 20;
const MAX_HIDDEN_COUNTED = 1000;
const SLASH = Buffer.from('/');
/** Linux walks no path of more than 4 KiB at a time; the format has no limit, so this is far above what anybody has. */
const MAX_DEPTH = 10_000;
/** What a client uses for a catalog without the property, seconds. */
const DEFAULT_TTL_SECONDS = 240;

export class Catalog {
  readonly schemaRevision: number;
  /** Where the catalog is attached, `/a/b`; empty for a root catalog. */
  readonly rootPrefix: Buffer;
  readonly revision: number;
  readonly ttlSeconds: number;
  /** Largest rowid of the main table; 0 when it is empty. */
  readonly maxRowid: number;
  private readonly properties: ReadonlyMap<string, Buffer>;
  private readonly hidden = new Set<number>();
  private readonly groups = new HardlinkGroups();

  private constructor(private readonly rows: CatalogRows) {
    this.properties = rows.properties();
    const schema = Number(this.property('schema') ?? '1.0');
    if (!(Math.abs(schema - 2.5) < 0.01 || Math.abs(schema - 2.4) < 0.01)) {
      throw rows.refuse(`its schema is ${JSON.stringify(this.property('schema') ?? 'older than 2.4')}, and 2.4 and 2.5 are read`);
    }
    this.schemaRevision = this.number('schema_revision', 0);
    this.revision = this.number('revision', 0);
    this.ttlSeconds = this.number('TTL', DEFAULT_TTL_SECONDS);
    this.rootPrefix = this.properties.get('root_prefix') ?? Buffer.alloc(0);
    if (!isEntryPath(this.rootPrefix)) throw rows.refuse('its root_prefix is not a path');

    const { lowest, highest } = rows.extremes();
    if (lowest !== null && (!isRowid(lowest) || !isRowid(highest))) {
      throw rows.refuse(`its row numbers go from ${String(lowest)} to ${String(highest)}, and 1 to ${MAX_ROWID} are possible`);
    }
    this.maxRowid = isRowid(highest) ? highest : 0;
  }

  /**
   * Opens a decompressed catalog for reading. CATALOG_INVALID for one that is damaged, hostile or of an unknown
   * schema; SYSTEM when the file cannot be read. Close it; an evicted file stays readable until then.
   */
  static open(path: string, options: OpenOptions = {}): Catalog {
    const rows = openRows(path, options);
    try {
      const catalog = new Catalog(rows);
      if (options.expectRoot === true && catalog.rootPrefix.length !== 0) {
        throw rows.refuse(`it is not a root catalog but that of ${catalog.rootPrefix.toString()}`);
      }
      catalog.rootEntry();
      return catalog;
    } catch (error) {
      rows.close();
      throw error;
    }
  }

  /** Rows met so far that were left out because no file system can hold them; counted up to 1,000. */
  get hiddenEntries(): number {
    return this.hidden.size;
  }

  property(key: string): string | undefined {
    return this.properties.get(key)?.toString();
  }

  /** The directory that the catalog begins with. */
  rootEntry(): CatalogEntry {
    const entry = this.byKey(pathKey(this.rootPrefix));
    if (entry === undefined || !isDirectory(entry.flags)) throw this.rows.refuse('it has no row for its own root directory');
    return entry;
  }

  byRowid(rowid: number): CatalogEntry | undefined {
    return isRowid(rowid) ? this.entry(this.rows.byRowid(rowid)) : undefined;
  }

  byKey(key: PathKey): CatalogEntry | undefined {
    return this.entry(this.rows.byKey(key));
  }

  /**
   * Entries of a directory with a rowid above `afterRowid` in rowid order. At most `limit` rows are looked at, and rows
   * that are not fit to be seen are skipped, so a short answer is not the end: only an empty one is. The bit `hidden`
   * of the flags is for the caller to honour.
   */
  children(parent: PathKey, afterRowid: number, limit: number): CatalogEntry[] {
    // A page of nothing but unfit rows must not look like the end of the directory.
    for (let after = afterRowid; ; ) {
      const page = this.childrenPage(parent, after, limit);
      if (page.entries.length > 0 || page.end) return page.entries;
      after = page.lastRowid;
    }
  }

  /** One page of the same: `lastRowid` is where the next one goes on, `end` that there is none. */
  childrenPage(parent: PathKey, afterRowid: number, limit: number): { readonly entries: CatalogEntry[]; readonly lastRowid: number; readonly end: boolean } {
    let after = afterRowid;
    const rows = this.rows.children(parent, after, limit);
    const entries: CatalogEntry[] = [];
    for (const row of rows) {
      // Rows that do not ascend are a b-tree with shared pages: a listing without end.
      if (!isRowid(row.rowid) || row.rowid <= after) throw this.rows.refuse('its index of directories is not in order');
      after = row.rowid;
      const entry = this.entry(row);
      if (entry === undefined) continue;
      // The root of a repository has no parent; a row that is its own parent is a directory inside itself.
      if (!samePathKey(entry.key, parent) && entry.name.length !== 0) entries.push(entry);
      else this.hide(entry.rowid);
    }
    return { entries, lastRowid: after, end: rows.length < limit };
  }

  /** The same page for a listing, by the same rules, three times as fast. */
  listPage(parent: PathKey, afterRowid: number, limit: number): { readonly entries: readonly ListedEntry[]; readonly lastRowid: number; readonly end: boolean } {
    const scan = this.rows.scan?.(parent, afterRowid, limit);
    if (scan === undefined) return this.childrenPage(parent, afterRowid, limit);
    const { row } = scan;
    const entries: ListedEntry[] = [];
    let lastRowid = afterRowid;
    let rows = 0;
    for (; scan.next(); rows += 1) {
      if (!isRowid(row.rowid)) throw this.rows.refuse('its index of directories is not in order');
      lastRowid = row.rowid;
      if (row.fit && row.nameLength !== 0 && !row.hasKey(parent)) entries.push(row.listed());
      else this.hide(row.rowid);
    }
    return { entries, lastRowid, end: rows < limit };
  }

  /** All rows in rowid order, a page at a time: for what has to see everything. The same rules as `children`. */
  entriesAfter(afterRowid: number, limit: number): CatalogEntry[] {
    let after = afterRowid;
    for (;;) {
      const rows = this.rows.all(after, limit);
      const entries: CatalogEntry[] = [];
      for (const row of rows) {
        if (!isRowid(row.rowid) || row.rowid <= after) throw this.rows.refuse('its rows are not in order');
        after = row.rowid;
        const entry = this.entry(row);
        if (entry !== undefined) entries.push(entry);
      }
      if (entries.length > 0 || rows.length < limit) return entries;
    }
  }

  /**
   * The path of an entry from the names of its parents, up to this catalog's root prefix. CATALOG_INVALID when it does
   * not have the entry's key: a loop of parents, a name that is not that of its path. Whoever shows a directory by its
   * row number needs this once: the indices of a hostile catalog may lie about who is whose child.
   */
  pathOf(entry: CatalogEntry): Buffer {
    const top = pathKey(this.rootPrefix);
    const parts: Buffer[] = [];
    const passed = new Set<number>();
    for (let at = entry; !samePathKey(at.key, top); ) {
      parts.push(at.name, SLASH);
      passed.add(at.rowid);
      const parent = this.byKey(at.parent);
      if (parent === undefined || passed.has(parent.rowid) || passed.size > MAX_DEPTH) {
        throw this.rows.refuse(`row ${entry.rowid} has no way up to the catalog's root`);
      }
      at = parent;
    }
    const path = Buffer.concat([this.rootPrefix, ...parts.reverse()]);
    if (!samePathKey(pathKey(path), entry.key)) throw this.rows.refuse(`row ${entry.rowid} is not where its names say`);
    return path;
  }

  /** The catalog that is attached exactly at `path` (absolute, as in `NestedCatalog`). */
  nestedAt(path: Buffer): NestedCatalog | undefined {
    const row = this.rows.nestedAt(path);
    return row === undefined ? undefined : this.nestedCatalog(row);
  }

  /** All that is attached; more than 200,000 are refused. */
  nested(): NestedCatalog[] {
    const rows = this.rows.nested();
    for (const bind of [false, true]) {
      if (rows.filter((row) => row.bind === bind).length > MAX_NESTED) throw this.rows.refuse(`it has more than ${MAX_NESTED} nested catalogs`);
    }
    return rows.map((row) => this.nestedCatalog(row));
  }

  /** The chunks of a chunked file in order. They cover it exactly, else CATALOG_INVALID. */
  chunks(entry: CatalogEntry): Chunk[] {
    if (!isChunked(entry.flags)) return [];
    const chunks: Chunk[] = [];
    let end = 0;
    const rows = this.rows.chunks(entry.key);
    if (rows === undefined) throw this.rows.refuse('it has chunked files and no usable table chunks');
    for (const { offset, size, hash } of rows) {
      const sized = offset === end && typeof size === 'number' && Number.isSafeInteger(size) && size > 0;
      if (!sized || !Buffer.isBuffer(hash) || hash.length !== DIGEST_BYTES) throw this.rows.refuse(`the chunks of row ${entry.rowid} have a gap, an overlap or no hash at ${end}`);
      chunks.push({ offset: end, size, hash });
      end += size;
      if (chunks.length > MAX_CHUNKS || end > entry.size) break;
    }
    if (end !== entry.size || chunks.length === 0) {
      throw this.rows.refuse(`the chunks of row ${entry.rowid} cover ${end} of its ${entry.size} bytes, or are more than ${MAX_CHUNKS}`);
    }
    return chunks;
  }

  /**
   * The lowest rowid among the names of a hard-link group: what the group's node id is made of. A group lives in one
   * directory, so with the parent's key only that directory is looked at, once for all its groups.
   * undefined when no row of the group is there.
   */
  lowestRowidOfGroup(group: number, parent?: PathKey): number | undefined {
    if (group === 0) return undefined;
    return this.groups.lowest(group, parent === undefined ? '' : `${parent.hi},${parent.lo}`, (after, limit) =>
      parent === undefined ? this.entriesAfter(after, limit) : this.children(parent, after, limit),
    );
  }

  /** The counters that the publisher wrote (spec 4.7, statistics.ts); none in a catalog from before there were any. */
  statistics(): Map<string, number> {
    const counters = new Map<string, number>();
    for (const [name, value] of this.rows.statistics() ?? []) {
      const count = Number(value.toString());
      if (Number.isSafeInteger(count)) counters.set(name, count);
    }
    return counters;
  }

  close(): void {
    this.rows.close();
  }

  private entry(row: NumberedEntry | undefined): CatalogEntry | undefined {
    if (row !== undefined && row.entry === undefined) this.hide(row.rowid);
    return row?.entry;
  }

  private hide(rowid: number): void {
    if (this.hidden.size < MAX_HIDDEN_COUNTED) this.hidden.add(rowid);
  }

  private nestedCatalog({ path, hash: text, size, bind }: RawNested): NestedCatalog {
    if (!Buffer.isBuffer(path) || path.length === 0 || !isEntryPath(path)) throw this.rows.refuse('the place of a nested catalog is not a path');
    if (typeof text !== 'string') throw this.rows.refuse(`the nested catalog at ${path.toString()} has no hash`);
    try {
      return { path, hash: parseHash(text), size: typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : 0, bind };
    } catch (error) {
      throw this.rows.refuse(`the nested catalog at ${path.toString()}: ${Failure.from(error).what}`);
    }
  }

  private number(key: string, fallback: number): number {
    const text = this.property(key);
    if (text === undefined) return fallback;
    if (!/^[0-9]{1,16}$/.test(text)) throw this.rows.refuse(`its property ${key} is ${JSON.stringify(text.slice(0, 40))}`);
    return Number(text);
  }
}

/** Our own reader where it understands the file; SQLite, loaded only then, where not. */
function openRows(path: string, options: OpenOptions): CatalogRows {
  if (!path.startsWith('/') || path.trim() !== path) throw new Failure('INVALID_ARGUMENT', `not an absolute path of a database: ${JSON.stringify(path)}`);
  const what = `catalog ${path}`;
  const rows = openTreeRows(path, what, options.pool ?? new PagePool(OWN_POOL_BYTES));
  if (!('unfamiliar' in rows)) return rows;
  options.unfamiliar?.(rows.unfamiliar);
  // Some MiB in each thread, for files that nobody is known to make.
  const { SqlRows: Fallback } = require('./sql-rows') as { SqlRows: typeof SqlRows };
  return new Fallback(path, what);
}

function isRowid(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_ROWID;
}
