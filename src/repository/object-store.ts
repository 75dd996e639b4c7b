/**
 * Cache and network as one: makes objects local. One download per object however many ask for it; an object that the
 * disk has no room for is kept in memory for a while, so that its readers are served.
 */
import * as fs from 'node:fs';
import { LRUCache } from 'lru-cache';
import { Failure, type Code } from '../error';
import type { ObjectCache } from '../cache/object-cache';
import { objectName } from '../cache/object-name';
import type { ObjectReader } from '../cache/object-reader';
import { objectPath } from '../cvmfs/object';
import type { ObjectKind } from '../cvmfs/object';
import type { Transfer, TransferRequest } from '../transfer/transfer';
import { Urgency } from '../transfer/urgency';
import { Missing } from './missing';
import type { ObjectNeed } from './missing';
import type { Spill } from './spill';

/** Largest plain size of what a catalog does not give a size for. A catalog of 500,000 entries has some 150 MiB. */
const PLAIN_BYTES_MAX: Readonly<Record<ObjectKind, number>> = {
  file: Number.MAX_SAFE_INTEGER,
  chunk: 1 << 30,
  catalog: 4 * 1024 ** 3,
  history: 1 << 30,
  certificate: 64 * 1024,
  metainfo: 64 * 1024,
};
/** Largest object that is served from memory when the disk has no room, and all of them together. */
const MEMORY_OBJECT_BYTES_MAX = 32 << 20;
const MEMORY_BYTES_MAX = 64 << 20;

/** Stored bytes of an object of `plain` bytes at most: zlib adds five bytes to every 16 KiB block that does not shrink. */
function storedBytesMax(plain: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, plain + Math.ceil(plain / 1000) + 65_536);
}

/** Largest plain size of what is unpacked at once for somebody who waits: half a millisecond of the main thread. */
const AT_ONCE_PLAIN_BYTES_MAX = 128 << 10;
/** Bytes of such objects on their way to the disk; beyond, readers wait for the disk as well. */
const ON_THE_WAY_BYTES_MAX = 8 << 20;
/** A background fetch that nobody wants any more goes on when it has been sent and is no larger: its connection is worth more. */
const FINISHED_ANYWAY_BYTES_MAX = 256 << 10;
/**
 * Failures of a fetch in the background after which a reader that joined it tries again with time of its own: those that
 * say nothing about the object, and "it is not there", which was said before the reader asked.
 */
const NOT_FINAL: readonly Code[] = ['NETWORK', 'DEADLINE_EXCEEDED', 'CANCELLED', 'RESOURCE_EXHAUSTED', 'OBJECT_MISSING'];

export interface EnsureOptions {
  /** Nobody waits for it: demanded objects go before it. Demanded meanwhile, it goes with these. */
  readonly background?: boolean;
  /** Default that of the store. */
  readonly deadlineMs?: number;
  /** Ends the wait with CANCELLED, and the fetch unless somebody else waits for it too. */
  readonly signal?: AbortSignal;
  /** Resolve only when every process can open it; else it may still be in this process' memory, on its way to the disk. */
  readonly onDisk?: boolean;
}

interface Flight {
  readonly urgency: Urgency;
  readonly controller: AbortController;
  readonly done: Promise<void>;
  readonly plainSize: number | null;
  waiters: number;
}

export interface ObjectStoreCounters {
  /** Objects fetched from the network, and their stored bytes are the transfer's to count. */
  readonly fetched: number;
  readonly failed: number;
}

export class ObjectStore {
  readonly #cache: ObjectCache;
  readonly #reader: ObjectReader;
  readonly #transfer: Transfer;
  readonly #deadlineMs: number;
  readonly #spill: Spill;
  readonly #underWay = new Map<string, Flight>();
  /** Objects in `#memory` on their way to the disk. */
  readonly #storing = new Map<string, Promise<void>>();
  #storingBytes = 0;
  readonly #memory = new LRUCache<string, Buffer>({ maxSize: MEMORY_BYTES_MAX, sizeCalculation: (bytes) => bytes.length + 1 });
  readonly counters = { fetched: 0, failed: 0 };

  constructor(cache: ObjectCache, reader: ObjectReader, transfer: Transfer, options: { readonly deadlineMs: number; readonly spill: Spill }) {
    this.#cache = cache;
    this.#reader = reader;
    this.#transfer = transfer;
    this.#deadlineMs = options.deadlineMs;
    this.#spill = options.spill;
  }

  /**
   * Resolves when the object is local: when this store can read it, and with `onDisk` when everybody can. Errors: those of
   * the transfer and of the cache, naming the object.
   */
  async ensure(need: ObjectNeed, options: EnsureOptions = {}): Promise<void> {
    const name = objectName(need);
    for (let last = false; ; last = true) {
      const storing = this.#storing.get(name);
      if (storing !== undefined) {
        if (this.#memory.has(name) && options.onDisk !== true) return;
        await storing;
      }
      const joined = this.#underWay.get(name);
      const inBackground = joined?.urgency.background === true;
      try {
        await this.#wait(joined ?? this.#begin(need, name, options), need, options);
        if (options.onDisk === true) await this.#storing.get(name);
        return;
      } catch (error) {
        // Whoever began it had little time for it, or gave it up; who needs it now has time of its own.
        const mine = !inBackground || options.background === true || options.signal?.aborted === true;
        if (mine || last || !(error instanceof Failure && NOT_FINAL.includes(error.code))) throw error;
      }
    }
  }

  /** True when nothing has to be fetched. Never waits. */
  isLocal(need: ObjectNeed): boolean {
    return this.#isKept(objectName(need)) || this.#cache.has(need, need.plainSize);
  }

  /** True when the object is local; one of an earlier boot is verified first. Never fetches. */
  async verifyLocal(need: ObjectNeed): Promise<boolean> {
    return this.#isKept(objectName(need)) || this.#cache.ensure(need, need.plainSize);
  }

  /** Path of a local database. */
  file(need: ObjectNeed): string {
    return this.#spill.find(objectName(need)) ?? this.#cache.file(need);
  }

  /** True when it is local and not in the cache, for want of room there. */
  #isKept(name: string): boolean {
    return this.#memory.has(name) || this.#spill.has(name);
  }

  /** Reads bytes that are local; throws `Missing` otherwise. For the thread that owns this store. */
  read(need: ObjectNeed, into: Buffer, at: number, offset: number, length: number): number {
    const kept = this.#memory.get(objectName(need));
    if (kept !== undefined) return kept.copy(into, at, offset, offset + length);
    const fd = this.#reader.open(need, need.plainSize);
    if (fd === null || fd === 'unverified') throw new Missing(need);
    return fs.readSync(fd, into, at, length, offset);
  }

  /** The whole of a small local object as text; throws `Missing` when it is not local. */
  text(need: ObjectNeed): string {
    const max = Math.min(PLAIN_BYTES_MAX[need.kind], MEMORY_OBJECT_BYTES_MAX);
    const bytes = Buffer.alloc(max);
    return bytes.toString('utf8', 0, this.read(need, bytes, 0, 0, max));
  }

  /** The whole of a small object, fetched when it is not local. */
  async bytes(need: ObjectNeed, options: EnsureOptions = {}): Promise<Buffer> {
    for (let attempt = 0; attempt < 3; attempt++) {
      await this.ensure(need, options);
      const kept = this.#memory.get(objectName(need)) ?? (await this.#cache.read(need, { plainSize: need.plainSize, maxBytes: PLAIN_BYTES_MAX[need.kind] }));
      if (kept !== null) return kept;
    }
    throw new Failure('NO_SPACE', `${need.what} is evicted from the cache faster than it can be read`, { next: 'raise cache.limit' });
  }

  /** Verifies a local object again that turned out not to be readable; true when it was damaged and has been removed. */
  async wasDamaged(need: ObjectNeed): Promise<boolean> {
    this.#reader.close();
    if (this.#spill.remove(objectName(need))) return true;
    return !(await this.#cache.reverify(need));
  }

  #begin(need: ObjectNeed, name: string, options: EnsureOptions): Flight {
    const urgency = new Urgency(options.background === true);
    const controller = new AbortController();
    const done = this.#make(need, name, urgency, options.deadlineMs ?? this.#deadlineMs, controller.signal).finally(() => this.#underWay.delete(name));
    // All who wait may have left.
    done.catch(() => undefined);
    const flight = { urgency, controller, done, plainSize: need.plainSize, waiters: 0 };
    this.#underWay.set(name, flight);
    return flight;
  }

  async #wait(flight: Flight, need: ObjectNeed, { background, signal }: EnsureOptions): Promise<void> {
    if (background !== true) flight.urgency.promote();
    flight.waiters += 1;
    if (signal === undefined) {
      await flight.done.finally(() => (flight.waiters -= 1));
      return;
    }
    const { promise: gone, reject: leave } = withReject();
    const aborted = (): void => leave(new Failure('CANCELLED', `${need.what}: the download was cancelled`));
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
    try {
      await Promise.race([flight.done, gone]);
    } finally {
      signal.removeEventListener('abort', aborted);
      flight.waiters -= 1;
      const finishes = flight.urgency.background && !flight.urgency.queued && (flight.plainSize ?? Infinity) <= FINISHED_ANYWAY_BYTES_MAX;
      if (flight.waiters === 0 && !finishes) flight.controller.abort();
    }
  }

  async #make(need: ObjectNeed, name: string, urgency: Urgency, deadlineMs: number, signal: AbortSignal): Promise<void> {
    if (this.#isKept(name) || (await this.#cache.ensure(need, need.plainSize))) return;
    const maxPlainBytes = need.plainSize ?? PLAIN_BYTES_MAX[need.kind];
    const request: TransferRequest = {
      path: need.external === undefined ? objectPath(need) : Buffer.from(need.external.path, 'latin1'),
      maxBytes: storedBytesMax(maxPlainBytes),
      deadlineMs,
      info: need.what,
      urgency,
      signal,
      ...(need.external === undefined ? {} : { external: true }),
      ...(need.external?.range === undefined ? {} : { range: need.external.range }),
    };
    try {
      const memory = await this.#transfer.fetch(request, async (body) => {
        if (body.whole !== undefined && !urgency.background && this.#takeAtOnce(need, name, body.whole)) return undefined;
        const limits = { plainSize: need.plainSize, maxPlainBytes, orMemoryMaxBytes: MEMORY_OBJECT_BYTES_MAX, lazy: urgency.background };
        return (await this.#cache.insert(need, body.whole ?? body, limits)).memory;
      });
      this.counters.fetched += 1;
      if (memory === undefined) return;
      if (need.kind === 'catalog' || need.kind === 'history') this.#spill.put(name, memory);
      else this.#memory.set(name, memory);
    } catch (error) {
      this.counters.failed += 1;
      const failure = Failure.from(error);
      throw new Failure(failure.code, `${need.what}: ${failure.what}`, { cause: failure, data: failure.data, ...(failure.next === undefined ? {} : { next: failure.next }) });
    }
  }

  /**
   * A small object that a reader waits for is checked and unpacked here and now, and read from memory; to the disk it goes
   * afterwards, in company. False when it is none of these, or when too much is on its way already.
   */
  #takeAtOnce(need: ObjectNeed, name: string, stored: Buffer): boolean {
    // What is opened by its path must be a file.
    if (need.kind !== 'file' && need.kind !== 'chunk') return false;
    const { plainSize } = need;
    if (plainSize === null || plainSize > AT_ONCE_PLAIN_BYTES_MAX || this.#storingBytes + plainSize > ON_THE_WAY_BYTES_MAX) return false;
    const plain = this.#cache.unpack(need, stored, { plainSize, maxPlainBytes: plainSize });
    this.#memory.set(name, plain);
    this.#storingBytes += plain.length;
    const storing = this.#cache
      .insertChecked(need, plain)
      .then(
        () => {
          if (this.#memory.get(name) === plain) this.#memory.delete(name);
        },
        // It stays in memory, as every object for which the disk has no room.
        () => undefined,
      )
      .finally(() => {
        this.#storingBytes -= plain.length;
        this.#storing.delete(name);
      });
    this.#storing.set(name, storing);
    return true;
  }
}

function withReject(): { readonly promise: Promise<never>; readonly reject: (reason: Failure) => void } {
  let reject: (reason: Failure) => void = () => undefined;
  const promise = new Promise<never>((_resolve, refuse) => (reject = refuse));
  return { promise, reject };
}
