/**
 * Searching the two kinds of b-tree of an SQLite file. A table's is ordered by rowid and has its rows in the leaves; an
 * index's is ordered by the columns of its entries, of which inner pages hold some too.
 *
 * The file may be a stranger's work: pages may point at each other in circles, share children, and be out of order. So
 * nothing here walks a tree: each step is a descent from the root of at most DEPTH_MAX pages for the first key at or above
 * a given one, and a caller goes on only with a higher key than before. Every search in a page halves what is left.
 */
import type { Page, PageFile } from './page-file';
import { INDEX_INNER, INDEX_LEAF, TABLE_INNER, TABLE_LEAF } from './page-file';
import { Payload } from './payload';
import { RecordReader, word } from './record';

/** As in SQLite: 20 levels of two children each are more pages than there can be. */
const DEPTH_MAX = 20;
/** Removing rows may leave a separator whose rows are in the next leaf; in a sound tree that happens once a search. */
const EMPTY_STEPS_MAX = 4;

export class TableTree {
  /** Of the row that was found last. */
  readonly payload: Payload;
  readonly #file: PageFile;
  readonly #root: number;
  /** The leaf that was looked at last: rows are mostly asked for in order. */
  #leaf = 0;
  /** Largest rowid of the leaf's subtree as the inner pages have it; infinite for the rightmost. */
  #bound = Infinity;

  constructor(file: PageFile, root: number) {
    this.#file = file;
    this.#root = root;
    this.payload = new Payload(file);
  }

  /** Finds the row, true when it is there. */
  find(rowid: number): boolean {
    const { payload } = this;
    if (this.#leaf !== 0) {
      const page = this.#file.page(this.#leaf);
      if (page.kind === TABLE_LEAF && page.cells > 0) {
        const cell = this.#firstFrom(page, rowid);
        if (cell < page.cells && payload.rowidOf(page, cell) === rowid) {
          payload.read(page, cell);
          return true;
        }
      }
    }
    const page = this.#descend(rowid);
    const cell = this.#firstFrom(page, rowid);
    if (cell === page.cells || payload.rowidOf(page, cell) !== rowid) return false;
    payload.read(page, cell);
    return true;
  }

  /** Finds the first row with at least this rowid, and gives its rowid; −1 when there is none. */
  findFrom(rowid: number): number {
    const { payload } = this;
    let from = rowid;
    for (let step = 0; step < EMPTY_STEPS_MAX; step += 1) {
      const page = this.#descend(from);
      const cell = this.#firstFrom(page, from);
      if (cell < page.cells) {
        payload.read(page, cell);
        // Not what the search asked for: the page is not in order.
        if (!(payload.rowid >= rowid)) throw this.#file.refuse('its rows are not in order');
        return payload.rowid;
      }
      if (this.#bound === Infinity) return -1;
      from = this.#bound + 1;
    }
    throw this.#file.refuse('its rows are not where its b-tree says');
  }

  /** Smallest rowid; null of an empty table. */
  lowest(): number | null {
    const page = this.#descend(-Infinity);
    return page.cells === 0 ? null : this.payload.rowidOf(page, 0);
  }

  /** Largest rowid; null of an empty table. */
  highest(): number | null {
    const page = this.#descend(Infinity);
    return page.cells === 0 ? null : this.payload.rowidOf(page, page.cells - 1);
  }

  /** The leaf where the row would be. */
  #descend(rowid: number): Page {
    let number = this.#root;
    let bound = Infinity;
    for (let depth = 0; depth < DEPTH_MAX; depth += 1) {
      const page = this.#file.page(number);
      if (page.kind === TABLE_LEAF) {
        // Only an empty table's root has no rows.
        if (page.cells === 0 && depth > 0) throw this.#file.refuse(`page ${number} is an empty leaf`);
        this.#leaf = number;
        this.#bound = bound;
        return page;
      }
      if (page.kind !== TABLE_INNER) throw this.#file.refuse(`page ${number} is not of a table`);
      const cell = this.#firstFrom(page, rowid);
      if (cell < page.cells) bound = this.payload.rowidOf(page, cell);
      number = this.payload.child(page, cell);
    }
    throw this.#file.refuse('its b-tree is a loop');
  }

  /** The first cell whose rowid is not below. */
  #firstFrom(page: Page, rowid: number): number {
    let low = 0;
    let high = page.cells;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.payload.rowidOf(page, middle) < rowid) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What an index is searched for: its first columns, integers or one text. */
export interface IndexKey {
  /** Of each integer the upper 32 bits, signed, and the lower ones, unsigned. */
  readonly high: number[];
  readonly low: number[];
  /** Instead of integers. */
  readonly text: Buffer | null;
}

export class IndexTree {
  /** The entry that was found last. */
  readonly entry: RecordReader;
  readonly #payload: Payload;
  readonly #file: PageFile;
  readonly #root: number;
  readonly #columns: number;
  #page = 0;
  #cell = 0;

  /** `columns`: how many an entry has, its rowid included, which is the last. */
  constructor(file: PageFile, root: number, columns: number) {
    this.#file = file;
    this.#root = root;
    this.#columns = columns;
    this.#payload = new Payload(file);
    this.entry = new RecordReader(file, Array.from({ length: columns }, (_, i) => i));
  }

  /** Finds the first entry whose first columns are not below the key, so at it or above. False when there is none. */
  find(key: IndexKey): boolean {
    let number = this.#root;
    this.#page = 0;
    for (let depth = 0; depth < DEPTH_MAX; depth += 1) {
      const page = this.#file.page(number);
      const cell = this.#firstFrom(page, key);
      if (page.kind === INDEX_LEAF) {
        if (page.cells === 0 && depth > 0) throw this.#file.refuse(`page ${number} is an empty leaf`);
        if (cell < page.cells) {
          this.#page = number;
          this.#cell = cell;
        }
        return this.#page !== 0 && this.#read();
      }
      if (page.kind !== INDEX_INNER) throw this.#file.refuse(`page ${number} is not of an index`);
      // An inner page's entry comes after all of its left child's.
      if (cell < page.cells) {
        this.#page = number;
        this.#cell = cell;
      }
      number = this.#payload.child(page, cell);
    }
    throw this.#file.refuse('an index is a loop');
  }

  /** Goes to the next entry of the same leaf; false at its end, from where `find` with a higher key goes on. */
  next(): boolean {
    const page = this.#file.page(this.#page);
    if (page.kind !== INDEX_LEAF || this.#cell + 1 >= page.cells) return false;
    this.#cell += 1;
    return this.#read();
  }

  /** True when the found entry begins with these integers. */
  startsWith(key: IndexKey, columns: number): boolean {
    for (let i = 0; i < columns; i += 1) if (this.#compare(i, key) !== 0) return false;
    return true;
  }

  /** The row that the found entry is for. */
  get rowid(): number {
    return this.entry.integer(this.#columns - 1);
  }

  #read(): boolean {
    this.#payload.read(this.#file.page(this.#page), this.#cell);
    this.entry.read(this.#payload);
    if (this.entry.columns !== this.#columns) throw this.#file.refuse('an index has entries of another shape');
    return true;
  }

  #firstFrom(page: Page, key: IndexKey): number {
    let low = 0;
    let high = page.cells;
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.#payload.read(page, middle);
      if (this.#below(key)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** True when the entry at hand is below the key. */
  #below(key: IndexKey): boolean {
    const { bytes, at, end } = this.#payload;
    // Nearly every entry of a catalog begins with two integers of 8 bytes and a header of one byte a column.
    if (key.text === null && key.high.length >= 2 && bytes[at]! === this.#columns + 1 && bytes[at + 1] === 6 && bytes[at + 2] === 6 && at + this.#columns + 17 <= end) {
      const first = at + this.#columns + 1;
      let difference = word(bytes, first) - key.high[0]!;
      if (difference === 0) difference = (word(bytes, first + 4) >>> 0) - key.low[0]!;
      if (difference === 0) difference = word(bytes, first + 8) - key.high[1]!;
      if (difference === 0) difference = (word(bytes, first + 12) >>> 0) - key.low[1]!;
      if (difference !== 0) return difference < 0;
      if (key.high.length === 2) return false;
    }
    this.entry.read(this.#payload);
    if (key.text !== null) return this.#compare(0, key) < 0;
    for (let i = 0; i < key.high.length; i += 1) {
      const order = this.#compare(i, key);
      if (order !== 0) return order < 0;
    }
    return false;
  }

  /** Order of column `i` of the entry to the key's, as SQLite has it: NULL, numbers, text, bytes. */
  #compare(i: number, key: IndexKey): number {
    const { entry } = this;
    if (key.text !== null) {
      if (!entry.isText(i)) return entry.isBlob(i) ? 1 : -1;
      const at = entry.at[i]!;
      if (at < 0) throw this.#file.refuse('an index has an overlong entry');
      return entry.bytes.compare(key.text, 0, key.text.length, at, at + entry.length(i));
    }
    if (entry.halves(i)) return entry.high - key.high[i]! || entry.low - key.low[i]!;
    if (entry.isNull(i)) return -1;
    if (entry.isText(i) || entry.isBlob(i)) return 1;
    throw this.#file.refuse('an index has a number with a fraction');
  }
}
