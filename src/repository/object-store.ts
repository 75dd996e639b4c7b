/**
 * Cache and network as one: makes objects local. One download per object however many ask for it; an object that the
 * disk has no room for is kept in memory for a while, so that its readers are served.
 */
import * as fs from 'node:fs';
import { LRUCache } from 'lru-cache';
import { Failure } from '../error';
import type { ObjectCache } from '../cache/object-cache';
import { objectName } from '../cache/object-name';
import type { ObjectReader } from '../cache/object-reader';
import { objectPath } from '../cvmfs/object';
import type { ObjectKind } from '../cvmfs/object';
import type { Transfer, TransferRequest } from '../transfer/transfer';
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

export interface EnsureOptions {
  readonly background?: boolean;
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
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
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #memory = new LRUCache<string, Buffer>({ maxSize: MEMORY_BYTES_MAX, sizeCalculation: (bytes) => bytes.length + 1 });
  readonly counters = { fetched: 0, failed: 0 };

  constructor(cache: ObjectCache, reader: ObjectReader, transfer: Transfer, options: { readonly deadlineMs: number; readonly spill: Spill }) {
    this.#cache = cache;
    this.#reader = reader;
    this.#transfer = transfer;
    this.#deadlineMs = options.deadlineMs;
    this.#spill = options.spill;
  }

  /** Resolves when the object is local. Errors: those of the transfer and of the cache, naming the object. */
  async ensure(need: ObjectNeed, options: EnsureOptions = {}): Promise<void> {
    const name = objectName(need);
    const running = this.#underWay.get(name);
    if (running !== undefined) return running;
    const fetching = this.#make(need, name, options).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, fetching);
    return fetching;
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

  async #make(need: ObjectNeed, name: string, options: EnsureOptions): Promise<void> {
    if (this.#isKept(name) || (await this.#cache.ensure(need, need.plainSize))) return;
    const maxPlainBytes = need.plainSize ?? PLAIN_BYTES_MAX[need.kind];
    const request: TransferRequest = {
      path: need.external === undefined ? objectPath(need) : Buffer.from(need.external.path, 'latin1'),
      maxBytes: storedBytesMax(maxPlainBytes),
      deadlineMs: options.deadlineMs ?? this.#deadlineMs,
      info: need.what,
      ...(options.background === true ? { background: true } : {}),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(need.external === undefined ? {} : { external: true }),
      ...(need.external?.range === undefined ? {} : { range: need.external.range }),
    };
    try {
      const inserted = await this.#transfer.fetch(request, (body) =>
        this.#cache.insert(need, body, { plainSize: need.plainSize, maxPlainBytes, orMemoryMaxBytes: MEMORY_OBJECT_BYTES_MAX }),
      );
      this.counters.fetched += 1;
      if (inserted.memory === undefined) return;
      if (need.kind === 'catalog' || need.kind === 'history') this.#spill.put(name, inserted.memory);
      else this.#memory.set(name, inserted.memory);
    } catch (error) {
      this.counters.failed += 1;
      const failure = Failure.from(error);
      throw new Failure(failure.code, `${need.what}: ${failure.what}`, { cause: failure, data: failure.data, ...(failure.next === undefined ? {} : { next: failure.next }) });
    }
  }
}
