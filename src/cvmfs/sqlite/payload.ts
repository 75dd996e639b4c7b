/**
 * Cells and what they hold: a record, which may go on in a chain of overflow pages.
 *
 *     table inner:  u32 left child, varint rowid (the largest one in the left child)
 *     table leaf:   varint payload bytes, varint rowid, payload
 *     index inner:  u32 left child, varint payload bytes, payload      (an entry of its own, above its left child's)
 *     index leaf:   varint payload bytes, payload
 *     payload: what fits, then u32 first overflow page; an overflow page: u32 next one (0 = last), then bytes
 *
 * How much of a payload of P bytes is in the page, with U usable bytes: all of it up to X (table: U − 35, index:
 * (U − 12) × 64 / 255 − 23), else K = M + (P − M) mod (U − 4) when that is at most X, else M = (U − 12) × 32 / 255 − 23.
 */
import type { Page, PageFile } from './page-file';
import { INDEX_INNER, TABLE_INNER, TABLE_LEAF } from './page-file';

const TWO_32 = 4294967296;

/**
 * The largest row that is read whole is far below this (catalog-row.ts: a name, a link and attributes are 135 KB). Of a
 * longer one its beginning is read: the publisher decides how long it is, and every row may share one chain of pages.
 */
export const PAYLOAD_BYTES_MAX = 256 * 1024;

/** Reads a varint: 7 bits a byte, the ninth has 8; as a double, so exact up to 2^53, negative when its 64th bit is set. */
export class Varint {
  value = 0;
  /** Where it ended; 0 when it does not end before `limit`. */
  end = 0;

  read(bytes: Buffer, at: number, limit: number): void {
    let value = 0;
    const last = at + 8;
    for (let i = at; i < limit; i += 1) {
      const byte = bytes[i]!;
      if (i === last) {
        value = value * 256 + byte;
        // 64 bits: what does not fit a signed number is negative.
        this.value = value >= TWO_32 * TWO_32 / 2 ? value - TWO_32 * TWO_32 : value;
        this.end = i + 1;
        return;
      }
      if (byte < 128) {
        this.value = value * 128 + byte;
        this.end = i + 1;
        return;
      }
      value = value * 128 + (byte & 127);
    }
    this.end = 0;
  }
}

/** Where the last cell's payload is. */
export class Payload {
  /** Of a page, valid as long as that, or of a buffer of our own, valid until the next cell. */
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  /** End of what is in `bytes`; before `at + total` only for a payload above PAYLOAD_BYTES_MAX. */
  end = 0;
  /** Bytes of the whole payload. */
  total = 0;
  /** Of a table's leaf. */
  rowid = 0;
  readonly #file: PageFile;
  readonly #varint = new Varint();
  readonly #tableLocal: number;
  readonly #indexLocal: number;
  readonly #least: number;
  #spilled: Buffer | null = null;

  constructor(file: PageFile) {
    this.#file = file;
    this.#tableLocal = file.usable - 35;
    this.#indexLocal = Math.floor(((file.usable - 12) * 64) / 255) - 23;
    this.#least = Math.floor(((file.usable - 12) * 32) / 255) - 23;
  }

  /** Start of a cell; it does not lie in the page's header. */
  cellAt(page: Page, cell: number): number {
    const pointer = page.first + 2 * cell;
    const at = (page.bytes[pointer]! << 8) | page.bytes[pointer + 1]!;
    if (at < page.first + 2 * page.cells || at + 4 > this.#file.usable) throw this.#file.refuse(`a cell of page ${page.number} is outside of it`);
    return at;
  }

  /** Left child of an inner page's cell; its rightmost child for `cell` = number of cells. */
  child(page: Page, cell: number): number {
    return page.bytes.readUInt32BE(cell === page.cells ? page.first - 4 : this.cellAt(page, cell));
  }

  /** Rowid of a cell of a table. */
  rowidOf(page: Page, cell: number): number {
    const { usable } = this.#file;
    const bytes = page.bytes;
    let at = this.cellAt(page, cell);
    if (page.kind === TABLE_INNER) at += 4;
    else {
      // Past the payload's length.
      let length = 1;
      while (length < 9 && at < usable && bytes[at]! >= 128) {
        at += 1;
        length += 1;
      }
      at += 1;
    }
    const byte = bytes[at]!;
    if (at < usable && byte < 128) return byte;
    this.#varint.read(bytes, at, usable);
    if (this.#varint.end === 0) throw this.#file.refuse(`a cell of page ${page.number} is cut`);
    return this.#varint.value;
  }

  /** Finds the payload of a cell of a table's leaf or of an index. */
  read(page: Page, cell: number): void {
    const { usable } = this.#file;
    const bytes = page.bytes;
    const varint = this.#varint;
    let at = this.cellAt(page, cell);
    if (page.kind === INDEX_INNER) at += 4;
    varint.read(bytes, at, usable);
    const total = varint.value;
    at = varint.end;
    if (page.kind === TABLE_LEAF && at !== 0) {
      varint.read(bytes, at, usable);
      this.rowid = varint.value;
      at = varint.end;
    }
    if (at === 0) throw this.#file.refuse(`a cell of page ${page.number} is cut`);
    if (total < 0 || total > this.#file.bytes) throw this.#file.refuse(`a row has ${total} bytes, the whole file ${this.#file.bytes}`);
    const most = page.kind === TABLE_LEAF ? this.#tableLocal : this.#indexLocal;
    let local = total;
    if (total > most) {
      local = this.#least + ((total - this.#least) % (usable - 4));
      if (local > most) local = this.#least;
    }
    const end = at + local;
    if (end + (local < total ? 4 : 0) > usable) throw this.#file.refuse(`a row of page ${page.number} reaches beyond it`);
    this.total = total;
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    if (local < total) this.#spill(bytes.readUInt32BE(end));
  }

  /** Puts the parts of a payload together. */
  #spill(firstPage: number): void {
    const wanted = Math.min(this.total, PAYLOAD_BYTES_MAX);
    if (this.#spilled === null || this.#spilled.length < wanted) this.#spilled = Buffer.allocUnsafeSlow(wanted);
    const into = this.#spilled;
    let got = this.bytes.copy(into, 0, this.at, this.end);
    for (let number = firstPage; got < wanted; ) {
      const page = this.#file.overflow(number);
      got += page.copy(into, got, 4, 4 + Math.min(this.#file.usable - 4, wanted - got));
      number = page.readUInt32BE(0);
    }
    this.bytes = into;
    this.at = 0;
    this.end = wanted;
  }
}
