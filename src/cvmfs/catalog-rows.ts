/** What a catalog asks of its file: answered by our own reader of the b-trees (tree-rows.ts), or by SQLite (sql-rows.ts). */
import type { CatalogEntry } from './catalog-entry';
import type { CatalogRow } from './catalog-row';
import type { PathKey } from './path-key';
import type { Failure } from '../error';

/** Attached catalogs are listed up to this many. */
export const MAX_NESTED = 200_000;

/** A row with its number; `entry` is undefined when it is not fit to be seen. */
export interface NumberedEntry {
  readonly rowid: number;
  readonly entry: CatalogEntry | undefined;
}

/** A row of `nested_catalogs` or `bind_mountpoints`, unchecked. */
export interface RawNested {
  readonly path: unknown;
  readonly hash: unknown;
  readonly size: unknown;
  readonly bind: boolean;
}

/** A row of `chunks`, unchecked. */
export interface RawChunk {
  readonly offset: unknown;
  readonly size: unknown;
  readonly hash: unknown;
}

export interface CatalogRows {
  /** The failure for a file that is not what it should be. */
  refuse(why: string): Failure;
  /** Numbers of the first and the last row of the main table, unchecked; null when it is empty. */
  extremes(): { readonly lowest: unknown; readonly highest: unknown };
  properties(): ReadonlyMap<string, Buffer>;
  /** undefined when the file has none. */
  statistics(): ReadonlyMap<string, Buffer> | undefined;
  /** undefined when there is no such row. */
  byRowid(rowid: number): NumberedEntry | undefined;
  byKey(key: PathKey): NumberedEntry | undefined;
  /** Rows of a directory with a number above `after`, in order, at most `limit`; the caller checks that they ascend. */
  children(parent: PathKey, after: number, limit: number): NumberedEntry[];
  /** The same without copies, when the file is read by ourselves. The row is good until the next call of anything here. */
  scan?(parent: PathKey, after: number, limit: number): RowScan;
  /** All rows, the same way. */
  all(after: number, limit: number): NumberedEntry[];
  nestedAt(path: Buffer): RawNested | undefined;
  /** At most MAX_NESTED + 1 of each table. */
  nested(): RawNested[];
  /** Chunks of a file in order of offset; undefined when the file has no table of them. */
  chunks(key: PathKey): Iterable<RawChunk> | undefined;
  close(): void;
}

/** Goes over a directory's rows, one at a time. */
export interface RowScan {
  /** The row that `next` found. */
  readonly row: CatalogRow;
  /** Steps to the next row; false at the end. `row.fit` says whether it may be seen. */
  next(): boolean;
}
