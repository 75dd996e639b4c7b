/**
 * The few numbers that all threads of a file system server share, in one SharedArrayBuffer. A reader worker looks at
 * them before each request, so that it never has to wait for a message to learn of a new revision or a new place.
 */
import { Failure } from '../error';

const LOCK = 0;
const PLACE_BYTES = 1;
const LIVE_INDEX = 2;
const WORDS = 4;
const LIVE_EXPIRY = WORDS * 4;
const BYTES = LIVE_EXPIRY + 8;

/** A thread holds the lock for one append to a file on tmpfs; a wait this long means that something is broken. */
const LOCK_WAIT_MS = 5_000;

/** Milliseconds of a clock that all threads and processes of this host share and that nobody can set. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #expiry: BigInt64Array;

  /** Without `buffer`: fresh state, no places, no live tree. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#expiry = new BigInt64Array(buffer, LIVE_EXPIRY, 1);
  }

  /** Bytes of the index list that are complete, in every thread's eyes. */
  get placeBytes(): number {
    return Atomics.load(this.#words, PLACE_BYTES);
  }

  set placeBytes(bytes: number) {
    Atomics.store(this.#words, PLACE_BYTES, bytes);
  }

  /** Index of the place that is the live tree's root directory; 0 before the first revision is there. */
  get liveIndex(): number {
    return Atomics.load(this.#words, LIVE_INDEX);
  }

  /**
   * Makes another revision the live one: one store, so that no thread sees half of it. Its time to live comes after it, and
   * readers look at the time before the index: an entry of the old revision never gets the time of the new one.
   */
  setLive(index: number, expiresAtMs: number): void {
    Atomics.store(this.#words, LIVE_INDEX, index);
    this.setLiveExpiry(expiresAtMs);
  }

  setLiveExpiry(expiresAtMs: number): void {
    Atomics.store(this.#expiry, 0, BigInt(Math.floor(expiresAtMs)));
  }

  /** What is left of the live tree's time to live, in milliseconds, never negative. */
  liveRemainingMs(nowMs: number): number {
    return Math.max(0, Number(Atomics.load(this.#expiry, 0)) - nowMs);
  }

  /** Runs `action` while no other thread is inside `locked`. */
  locked<T>(action: () => T): T {
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0) {
      if (Atomics.wait(this.#words, LOCK, 1, LOCK_WAIT_MS) === 'timed-out') throw new Failure('INTERNAL', 'a thread of this file system server holds its lock for ever');
    }
    try {
      return action();
    } finally {
      Atomics.store(this.#words, LOCK, 0);
      Atomics.notify(this.#words, LOCK, 1);
    }
  }
}
