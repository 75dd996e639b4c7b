/**
 * Which files the reader workers have just read, for the main thread, which does not see what is answered locally. A ring
 * in shared memory: a worker that reads writes four words and wakes the main thread at most once until it has looked.
 *
 *     words 0 written (count of all entries ever), 1 woken
 *     then ENTRIES × (index, rowid, offset in units of 64 KiB, count of this entry + 1, written last)
 *
 * Entries that the main thread was too slow for are overwritten: then a read-ahead stops, and nothing else happens.
 */

const ENTRIES = 4_096;
const HEAD_WORDS = 2;
const ENTRY_WORDS = 4;
const WRITTEN = 0;
const WOKEN = 1;
const UNIT_BYTES = 65_536;

export const READ_LOG_BYTES = (HEAD_WORDS + ENTRIES * ENTRY_WORDS) * 4;

export interface LoggedRead {
  readonly index: number;
  readonly rowid: number;
  /** Rounded down. */
  readonly offset: number;
}

export class ReadLog {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  #taken = 0;
  #lastIndex = -1;
  #lastRowid = -1;
  #lastUnit = -1;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(READ_LOG_BYTES)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** A worker's side. True: the main thread has to be woken. */
  note(index: number, rowid: number, offset: number): boolean {
    const unit = Math.floor(offset / UNIT_BYTES) | 0;
    if (index === this.#lastIndex && rowid === this.#lastRowid && unit === this.#lastUnit) return false;
    this.#lastIndex = index;
    this.#lastRowid = rowid;
    this.#lastUnit = unit;
    const count = Atomics.add(this.#words, WRITTEN, 1);
    const at = HEAD_WORDS + (count & (ENTRIES - 1)) * ENTRY_WORDS;
    this.#words[at] = index | 0;
    this.#words[at + 1] = rowid | 0;
    this.#words[at + 2] = unit;
    Atomics.store(this.#words, at + 3, (count + 1) | 0);
    return Atomics.exchange(this.#words, WOKEN, 1) === 0;
  }

  /** The main thread's side: what was noted since the last call, in order. Workers wake it again from now on. */
  take(): LoggedRead[] {
    Atomics.store(this.#words, WOKEN, 0);
    const written = Atomics.load(this.#words, WRITTEN);
    if (((written - this.#taken) | 0) > ENTRIES) this.#taken = (written - ENTRIES) | 0;
    const reads: LoggedRead[] = [];
    while (this.#taken !== written) {
      const at = HEAD_WORDS + (this.#taken & (ENTRIES - 1)) * ENTRY_WORDS;
      const stamp = Atomics.load(this.#words, at + 3);
      const expected = (this.#taken + 1) | 0;
      // Not written yet: its worker wakes the main thread, or the next one does.
      if (((stamp - expected) | 0) < 0) break;
      const read = { index: this.#words[at]! >>> 0, rowid: this.#words[at + 1]! >>> 0, offset: (this.#words[at + 2]! >>> 0) * UNIT_BYTES };
      if (stamp === expected && Atomics.load(this.#words, at + 3) === expected) reads.push(read);
      this.#taken = expected;
    }
    return reads;
  }
}
