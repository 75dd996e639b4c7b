/**
 * A record: the values of one row of a table, or one entry of an index.
 *
 *     varint bytes of the header with this varint, a varint per column: its serial type; then the values
 *     0 NULL   1…6 integer of 1, 2, 3, 4, 6, 8 bytes, big-endian, signed   7 double   8 the number 0   9 the number 1
 *     12 + 2n: n bytes   13 + 2n: text of n bytes
 *
 * An index entry's last value is the rowid. A row made before a column was added has no value for it: NULL.
 */
import type { PageFile } from './page-file';
import type { Payload } from './payload';
import { Varint } from './payload';

const TWO_32 = 4294967296;
const FIXED_BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0];
const NULL = 0;
const SHORT_BYTES = 32;
/** A catalog's table has 16 columns; SQLite allows 2,000. */
const COLUMNS_MAX = 2_000;

/** Where the values of the wanted columns are. */
export class RecordReader {
  /** The bytes that all offsets are in; of the payload. */
  bytes: Buffer = Buffer.alloc(0);
  /** Per slot. 0 also for a column that the record does not have. */
  readonly serial: Float64Array;
  /** Per slot: offset of the value, −1 when it lies beyond what was read of the payload. */
  readonly at: Float64Array;
  /** Columns that the record has. */
  columns = 0;
  /** Upper and lower 32 bits of the last integer that `halves` read; signed and unsigned. */
  high = 0;
  low = 0;
  readonly #file: PageFile;
  readonly #slots: Int16Array;
  readonly #last: number;
  readonly #varint = new Varint();

  /** `columns[i]` is the position in the table of what is to be slot i; −1 for a column that is not there. */
  constructor(file: PageFile, columns: readonly number[]) {
    this.#file = file;
    this.#last = Math.max(-1, ...columns);
    this.#slots = new Int16Array(this.#last + 1).fill(-1);
    columns.forEach((column, slot) => {
      if (column >= 0) this.#slots[column] = slot;
    });
    this.serial = new Float64Array(columns.length);
    this.at = new Float64Array(columns.length);
  }

  /** Finds the columns. A header that does not fit its payload is damage. */
  read(payload: Payload): void {
    const { bytes, end } = payload;
    const { serial, at } = this;
    const slots = this.#slots;
    const last = this.#last;
    const varint = this.#varint;
    this.bytes = bytes;
    varint.read(bytes, payload.at, end);
    const headerEnd = payload.at + varint.value;
    let next = varint.end;
    if (next === 0 || headerEnd < next || headerEnd > end) throw this.#file.refuse('the header of a row is longer than the row');
    let value = headerEnd;
    let column = 0;
    for (; next < headerEnd; column += 1) {
      let type = bytes[next]!;
      if (type < 128) next += 1;
      else {
        varint.read(bytes, next, headerEnd);
        if (varint.end === 0) throw this.#file.refuse('the header of a row is cut');
        type = varint.value;
        next = varint.end;
      }
      const length = type >= 12 ? Math.floor((type - 12) / 2) : type >= 0 ? FIXED_BYTES[type]! : Infinity;
      // The value may lie beyond what was read of a long payload, but not beyond the payload.
      if (value + length > payload.at + payload.total || type === 10 || type === 11) throw this.#file.refuse('a value is longer than its row');
      if (column <= last) {
        const slot = slots[column]!;
        if (slot >= 0) {
          serial[slot] = type;
          at[slot] = value + length > end ? -1 : value;
        }
      }
      value += length;
      if (column > COLUMNS_MAX) throw this.#file.refuse(`a row has more than ${COLUMNS_MAX} columns`);
    }
    this.columns = column;
    for (; column <= last; column += 1) {
      const slot = slots[column]!;
      if (slot >= 0) {
        serial[slot] = NULL;
        at[slot] = value;
      }
    }
  }

  isInteger(slot: number): boolean {
    const type = this.serial[slot]!;
    return (type >= 1 && type <= 6) || type === 8 || type === 9;
  }

  isNull(slot: number): boolean {
    return this.serial[slot] === NULL;
  }

  isText(slot: number): boolean {
    const type = this.serial[slot]!;
    return type >= 13 && type % 2 === 1;
  }

  isBlob(slot: number): boolean {
    const type = this.serial[slot]!;
    return type >= 12 && type % 2 === 0;
  }

  /** Bytes of text or blob; 0 for what is neither. */
  length(slot: number): number {
    const type = this.serial[slot]!;
    return type >= 12 ? (type - (type % 2) - 12) / 2 : 0;
  }

  /** An integer as a double, inexact beyond 2^53; NaN for what is no integer. */
  integer(slot: number): number {
    const at = this.at[slot]!;
    const { bytes } = this;
    if (at < 0) return NaN;
    switch (this.serial[slot]) {
      case 1:
        return (bytes[at]! << 24) >> 24;
      case 2:
        return ((bytes[at]! << 24) >> 16) | bytes[at + 1]!;
      case 3:
        return ((bytes[at]! << 24) >> 8) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      case 4:
        return word(bytes, at);
      case 5:
        return (((bytes[at]! << 24) >> 16) | bytes[at + 1]!) * TWO_32 + (word(bytes, at + 2) >>> 0);
      case 6:
        return word(bytes, at) * TWO_32 + (word(bytes, at + 4) >>> 0);
      case 8:
        return 0;
      case 9:
        return 1;
      default:
        return NaN;
    }
  }

  /** Puts an integer into `high` and `low`, exactly. False for what is no integer. */
  halves(slot: number): boolean {
    const at = this.at[slot]!;
    if (this.serial[slot] === 6 && at >= 0) {
      this.high = word(this.bytes, at);
      this.low = word(this.bytes, at + 4) >>> 0;
      return true;
    }
    const value = this.integer(slot);
    if (Number.isNaN(value)) return false;
    this.high = Math.floor(value / TWO_32);
    this.low = value - this.high * TWO_32;
    return true;
  }

  /** A copy of text or blob; null when it is neither, or longer than `maxBytes`. */
  copy(slot: number, maxBytes: number): Buffer | null {
    const at = this.at[slot]!;
    const length = this.length(slot);
    if (this.serial[slot]! < 12 || length > maxBytes || at < 0) return null;
    const copied = Buffer.allocUnsafe(length);
    // A name has some ten bytes: one by one is faster than any call, and leaves no view of the page behind.
    if (length > SHORT_BYTES) this.bytes.copy(copied, 0, at, at + length);
    else for (let i = 0; i < length; i += 1) copied[i] = this.bytes[at + i]!;
    return copied;
  }
}

/** Four bytes as a signed number. */
export function word(bytes: Buffer, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
