/**
 * The cache of objects on local disk: what fetches and pins goes through here; what only reads uses an `ObjectReader`.
 *
 *     ObjectCache.open ─ openIndex ─► index.db                         object-index.ts, open-index.ts
 *        insert ─┬ small ─► SmallObjectQueue ─► thread ─► storeBatch    small-object-queue.ts, unpack-executor.ts, store.ts
 *                └ large ─► unpackStream ─► ObjectSink ─► publish       unpack.ts, object-sink.ts, store.ts
 *        limit ────────────► Evictor                                    eviction.ts
 *        verify, check ────► inspect                                    verify.ts, check.ts
 *
 * Any number of processes may have one directory open. They meet in the index; an object that one has stored is found by
 * the readers of all at once, since readers look only at the path. One download per object is the business of the room
 * that downloads: two inserts of the same object at once are only wasteful, never wrong.
 *
 * When the index breaks under a running process, calls throw STATE_DAMAGED: the index has been set aside then, and a
 * process that opens the cache anew goes on with an empty one. A file system server simply ends itself.
 */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import type { ObjectId } from '../cvmfs/object';
import { Failure } from '../error';
import type { Logger } from '../log/logger';
import { openCacheDir } from './cache-dir';
import { checkCache, removeUnrecorded } from './check';
import type { CheckReport } from './check';
import { Evictor } from './eviction';
import type { Reservation } from './eviction';
import { hasGeneration } from './generation';
import { chargedBytes } from './object-index';
import type { ObjectIndex } from './object-index';
import { objectFile, objectName } from './object-name';
import type { CacheKey } from './object-name';
import { ObjectSink } from './object-sink';
import { closeIndex, deadOpeners, openIndex, setDamagedIndexAside } from './open-index';
import type { OpenedIndex } from './open-index';
import { SmallObjectQueue } from './small-object-queue';
import { publishObjects } from './store';
import type { SmallObject, StoreContext, StoreStep } from './store';
import { TempFiles, removeStaleTempFiles } from './temp-file';
import { maxStoredBytes, unpackSmall, unpackStream } from './unpack';
import { defaultExecutor } from './unpack-executor';
import type { BatchExecutor } from './unpack-executor';
import { verifyObject } from './verify';

/** Objects of at most so many stored bytes are unpacked in batches in a thread; 16 KB is where a pool job each begins to pay. */
const SMALL_STORED_BYTES = 64 << 10;
/** …as long as they do not unpack to more than this, which would hold up the batch. */
const SMALL_PLAIN_BYTES = 4 << 20;
const DEFAULT_MEMORY_BYTES = 32 << 20;
const FLUSH_TIMEOUT_MS = 120_000;
/** Other processes may take the room that was just made; more often than this would be a fight. */
const STORE_ATTEMPTS = 4;

/** A sum over all pins that took less is made anew each time; after one that took longer, its result stands for so many times as long. */
const HELD_QUICK_MS = 2;
const HELD_SHARE = 50;

export interface ObjectCacheOptions {
  readonly dir: string;
  /** Charged bytes: plain bytes rounded up to blocks of 4096, and 512 for each object. */
  readonly limitBytes: number;
  /** Owner of the directory, default the user of this process. */
  readonly uid?: number;
  readonly gid?: number;
  /** How long a call may wait for another process that writes the index, default 10 s. */
  readonly busyTimeoutMs?: number;
}

/** What the cache takes from the world; all but the log has a default. */
export interface ObjectCacheWorld {
  readonly log: Logger;
  /** Milliseconds, for the order of use; default `Date.now`. */
  readonly now?: () => number;
  /** Bytes that may still be written, default asks the file system. */
  readonly freeBytes?: () => number;
  readonly bootId?: string;
  readonly randomInt?: (min: number, max: number) => number;
  /** Who stores small objects; default a worker thread. */
  readonly executor?: (context: StoreContext) => BatchExecutor;
  /** Fault injection: called where a crash would be most harmful. */
  readonly step?: (step: StoreStep) => void;
}

export interface InsertOptions {
  /** The size that the catalog row says, when there is one. */
  readonly plainSize?: number | null;
  /** Most plain bytes accepted. */
  readonly maxPlainBytes: number;
  /** With no space on the disk, keep up to so many plain bytes in memory and answer them; default 0, which fails instead. */
  readonly orMemoryMaxBytes?: number;
  /** Nobody waits for it: it may take some milliseconds more and then costs less. */
  readonly lazy?: boolean;
  readonly signal?: AbortSignal;
}

export interface Inserted {
  readonly plainSize: number;
  /** The plain bytes, only when the object could not be stored and was kept in memory: it is not in the cache. */
  readonly memory?: Buffer;
}

export interface CacheUsage {
  readonly objects: number;
  /** Charged bytes of all objects. */
  readonly bytes: number;
  readonly pinnedBytes: number;
  /** Charged bytes that can not be evicted because the server of their users is away. */
  readonly unreachableBytes: number;
  /** The configured limit. */
  readonly limitBytes: number;
  /** The limit that holds: less than the configured one when the file system is smaller. */
  readonly effectiveLimitBytes: number;
  /** Objects that this process evicted since it opened the cache. */
  readonly evictedObjects: number;
  readonly owners: ReadonlyArray<{ readonly owner: string; readonly reachable: boolean; readonly pins: number; readonly uses: number }>;
}

export class ObjectCache {
  readonly dir: string;
  /** For `ObjectReader`s of this directory. */
  readonly generation: number;
  private readonly context: StoreContext;
  private readonly evictor: Evictor;
  private readonly executor: BatchExecutor;
  private readonly queue: SmallObjectQueue;
  private readonly verifying = new Map<string, Promise<boolean>>();
  private readonly now: () => number;
  private readonly log: Logger;
  private closed = false;
  private lastHeld = { pinned: 0, unreachable: 0 };
  private heldUntil = 0;

  private constructor(
    private readonly opened: OpenedIndex,
    private readonly options: ObjectCacheOptions,
    world: ObjectCacheWorld,
  ) {
    this.dir = options.dir;
    this.generation = opened.generation;
    this.log = world.log;
    this.now = world.now ?? Date.now;
    this.context = {
      dir: options.dir,
      generation: opened.generation,
      index: opened.index,
      temps: new TempFiles(`${options.dir}/txn`),
      ...(world.step === undefined ? {} : { step: world.step }),
    };
    this.evictor = new Evictor({
      dir: options.dir,
      limitBytes: options.limitBytes,
      index: opened.index,
      log: world.log,
      now: this.now,
      freeBytes: world.freeBytes ?? (() => freeBytes(options.dir)),
    });
    this.executor = (world.executor ?? defaultExecutor)(this.context);
    this.queue = new SmallObjectQueue(this.executor, this.now);
  }

  /**
   * Opens the cache, made when missing. Errors: FAILED_PRECONDITION and PERMISSION_DENIED about the directory's mode and
   * owner (cache-dir.ts), FAILED_PRECONDITION for the index of a later version. A damaged index is no error.
   */
  static async open(options: ObjectCacheOptions, world: ObjectCacheWorld): Promise<ObjectCache> {
    if (!Number.isSafeInteger(options.limitBytes) || options.limitBytes <= 0) throw new Failure('INVALID_ARGUMENT', `a cache limit of ${options.limitBytes} bytes`, { next: 'set cache.limit' });
    const uid = options.uid ?? process.geteuid!();
    openCacheDir(options.dir, { uid, gid: options.gid ?? process.getegid!() });
    const opened = openIndex(options.dir, world, options.busyTimeoutMs);
    try {
      const cache = new ObjectCache(opened, options, world);
      removeStaleTempFiles(`${options.dir}/txn`);
      if (opened.rebuilt) await removeUnrecorded(cache.context, { adopt: true, now: cache.now });
      // The limit may have been lowered, or the disk filled, since the last time.
      await cache.evictor.makeRoom(0).catch((error: unknown) => world.log.warn('the cache is over its limit', { error }));
      return cache;
    } catch (error) {
      opened.index.close();
      throw error;
    }
  }

  /** True when the folder, or the index in it, is another one than was opened: what this one stores nobody would find. */
  isReplaced(): boolean {
    return this.context.index.isReplaced();
  }

  /** Where the object lies, or would lie; for catalogs, which are opened by path. */
  file(id: CacheKey): string {
    return objectFile(this.dir, objectName(id));
  }

  /** True when a reader's `open` would answer a descriptor. */
  has(id: CacheKey, plainSize: number | null): boolean {
    return this.isReadable(fs.lstatSync(this.file(id), { throwIfNoEntry: false }), plainSize);
  }

  /** As `has`, after verifying an object of an earlier generation: false means that it must be fetched. */
  async ensure(id: CacheKey, plainSize: number | null): Promise<boolean> {
    const stat = fs.lstatSync(this.file(id), { throwIfNoEntry: false });
    // What is simply not there, which is every object on its first use, is not worth a trip through the thread pool.
    if (stat === undefined) return false;
    if (this.isReadable(stat, plainSize)) return true;
    return (await this.verify(id)) && this.has(id, plainSize);
  }

  /**
   * Looks at every byte of an object that a reader called 'unverified'. True: readers may open it now. False: it is not
   * there, or was damaged and is removed, and has to be fetched.
   */
  verify(id: CacheKey | string): Promise<boolean> {
    const name = typeof id === 'string' ? id : objectName(id);
    let running = this.verifying.get(name);
    if (running === undefined) {
      running = this.watched(() => verifyObject(this.context, name, { now: this.now() })).finally(() => this.verifying.delete(name));
      this.verifying.set(name, running);
    }
    return running;
  }

  /**
   * The same for an object that readers can open and yet is not what it should be: every byte is read whatever its
   * generation. True: it is sound. False: it was damaged, or is not there, and has to be fetched.
   */
  reverify(id: CacheKey): Promise<boolean> {
    return this.watched(() => verifyObject(this.context, objectName(id), { now: this.now(), always: true }));
  }

  /**
   * Stores an object: checks its bytes against its hash, unpacks it, and makes it visible to all readers when it resolves.
   * `body` is what the repository stores, at once where it has come whole. Errors: OBJECT_CORRUPT (`data.reason`, see unpack.ts), OBJECT_TOO_BIG, NO_SPACE
   * (after evicting and trying again), and what `body` throws. After an error nothing is left behind.
   */
  async insert(id: ObjectId, body: AsyncIterable<Uint8Array> | Uint8Array, options: InsertOptions): Promise<Inserted> {
    if (this.closed) throw new Failure('FAILED_PRECONDITION', `the cache ${this.dir} is closed`);
    const limits = { plainSize: options.plainSize ?? null, maxPlainBytes: options.maxPlainBytes };
    const pieces = body instanceof Uint8Array ? one(body) : body;
    if (limits.plainSize !== null && limits.plainSize > SMALL_PLAIN_BYTES) return this.watched(() => this.insertLarge(id, pieces, options));
    const gathered = body instanceof Uint8Array && body.length <= SMALL_STORED_BYTES ? { bytes: body, rest: null } : await gather(pieces, Math.min(SMALL_STORED_BYTES, maxStoredBytes(limits.plainSize ?? limits.maxPlainBytes)));
    if (gathered.rest !== null) return this.watched(() => this.insertLarge(id, gathered.rest!, options));
    const object = {
      hash: id.hash,
      compression: id.compression,
      name: objectName(id),
      stored: gathered.bytes,
      plainSize: limits.plainSize,
      maxPlainBytes: Math.min(limits.maxPlainBytes, SMALL_PLAIN_BYTES),
    };
    return this.watched(() => this.insertSmall(id, object, options));
  }

  /**
   * The checked plain bytes of a very small object that has come whole, on the calling thread, for whoever waits for them;
   * `insertChecked` then stores them. Errors: OBJECT_CORRUPT, OBJECT_TOO_BIG.
   */
  unpack(id: ObjectId, stored: Uint8Array, options: Pick<InsertOptions, 'plainSize' | 'maxPlainBytes'>): Buffer {
    return unpackSmall(id, stored, { plainSize: options.plainSize ?? null, maxPlainBytes: options.maxPlainBytes });
  }

  /** Stores what `unpack` has answered, and which nobody changes. Errors: NO_SPACE; nothing is left behind then. */
  async insertChecked(id: ObjectId, plain: Buffer): Promise<void> {
    if (this.closed) throw new Failure('FAILED_PRECONDITION', `the cache ${this.dir} is closed`);
    const object = { hash: id.hash, compression: id.compression, name: objectName(id), stored: plain, checked: true, plainSize: plain.length, maxPlainBytes: plain.length };
    await this.watched(() => this.insertSmall(id, object, { plainSize: plain.length, maxPlainBytes: plain.length, lazy: true }));
  }

  /**
   * The checked plain bytes of an object without touching the disk, for when the cache can not be used at all. At most
   * `maxPlainBytes`, which should not be more than the 32 MiB of the largest chunk.
   */
  async fetchToMemory(id: ObjectId, body: AsyncIterable<Uint8Array>, options: Omit<InsertOptions, 'orMemoryMaxBytes'>): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const limits = { plainSize: options.plainSize ?? null, maxPlainBytes: options.maxPlainBytes };
    await unpackStream(id, body, limits, async (plain) => void chunks.push(plain), options.signal);
    return Buffer.concat(chunks);
  }

  /** The whole of a small object (certificate, history…), verified when it must be; null when it is not there. */
  async read(id: CacheKey, options: { readonly plainSize?: number | null; readonly maxBytes?: number } = {}): Promise<Buffer | null> {
    if (!(await this.ensure(id, options.plainSize ?? null))) return null;
    const maxBytes = options.maxBytes ?? DEFAULT_MEMORY_BYTES;
    try {
      const size = fs.statSync(this.file(id)).size;
      if (size > maxBytes) throw new Failure('OBJECT_TOO_BIG', `object ${objectName(id)} has ${size} bytes, more than ${maxBytes}`);
      this.touch([objectName(id)]);
      return await fs.promises.readFile(this.file(id));
    } catch (error) {
      // Evicted between the two calls.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw Failure.from(error, `object ${objectName(id)}`);
    }
  }

  /** Notes that objects were used: what `ObjectReader.drainTouched` answered. Loses them rather than fail. */
  touch(names: readonly string[]): void {
    try {
      if (names.length > 0) this.context.index.touch(names, this.now());
    } catch (error) {
      this.log.warn('the use of cached objects was not recorded', { error });
    }
  }

  /**
   * Keeps objects from eviction, also those that are not here yet: pin a catalog first, then fetch it. Owners are strings
   * such as `mount:<id>`, `view:<hash>`, `image:<reference>`. Warns when pins alone pass the limit.
   */
  async pin(owner: string, ids: ReadonlyArray<CacheKey | string>): Promise<void> {
    await this.withRoom(() => this.context.index.pin(owner, ids.map(nameOf)));
    const { pinned } = this.held();
    const limit = this.evictor.limit();
    if (pinned > limit) this.log.warn('pinned objects alone pass the limit of the cache: raise cache.limit or unpin images', { pinnedBytes: pinned, limitBytes: limit, owner });
  }

  async unpin(owner: string): Promise<void> {
    await this.withRoom(() => this.context.index.unpin(owner));
  }

  /** Charged bytes of pinned objects that are here. */
  pinnedBytes(): number {
    return this.held().pinned;
  }

  isPinned(id: CacheKey): boolean {
    return this.context.index.isPinned(objectName(id));
  }

  /** What pins take, and what the cache may hold in all: the configured limit, or less when the file system is smaller. */
  room(): { readonly pinnedBytes: number; readonly effectiveLimitBytes: number } {
    return { pinnedBytes: this.context.index.heldBytes().pinned, effectiveLimitBytes: this.evictor.limit() };
  }

  /**
   * Says that an owner (a living rootfs) uses objects: they are evicted last, and never while it is not reachable. With
   * passthrough, objects that the kernel has open are used in this way by an unreachable owner of their own, since
   * unlinking them would free nothing.
   */
  async use(owner: string, ids: ReadonlyArray<CacheKey | string>): Promise<void> {
    await this.withRoom(() => this.context.index.use(owner, ids.map(nameOf)));
  }

  /** Forgets an owner, its uses and its pins. */
  async dropOwner(owner: string): Promise<void> {
    await this.withRoom(() => this.context.index.dropOwner(owner));
  }

  async setReachable(owner: string, reachable: boolean): Promise<void> {
    await this.withRoom(() => this.context.index.setReachable(owner, reachable));
  }

  usage(): CacheUsage {
    const { index } = this.context;
    const totals = index.totals();
    const held = this.held();
    return {
      objects: totals.objects,
      bytes: totals.bytes,
      pinnedBytes: held.pinned,
      unreachableBytes: held.unreachable,
      limitBytes: this.options.limitBytes,
      effectiveLimitBytes: this.evictor.limit(),
      evictedObjects: this.evictor.evicted.objects,
      owners: index.owners(),
    };
  }

  /** Reads every object and compares it with its record; with `repair` removes or corrects what is wrong. */
  check(options: { readonly repair: boolean; readonly signal?: AbortSignal }): Promise<CheckReport> {
    return this.watched(() => checkCache(this.context, { ...options, now: this.now }));
  }

  /** Removes what is neither pinned nor used by living rootfses. */
  prune(): Promise<{ readonly freedBytes: number }> {
    return this.watched(async () => ({ freedBytes: await this.evictor.evictTo(0, 'unused') }));
  }

  /**
   * Removes what is not pinned and not used by rootfses whose server is away; with `force` everything. Safe while servers
   * run: they fetch again what they need. Answers the charged bytes removed.
   */
  async wipe(options: { readonly force?: boolean } = {}): Promise<{ readonly freedBytes: number }> {
    return this.watched(async () => {
      const freedBytes = await this.evictor.evictTo(0, options.force === true ? 'all' : 'used by reachable owners');
      await removeUnrecorded(this.context, { adopt: false, now: this.now });
      removeStaleTempFiles(`${this.dir}/txn`);
      return { freedBytes };
    });
  }

  /**
   * Closes the cache after what is under way. What was written is flushed to the disk, so that the next boot may trust it;
   * a process that is killed instead only makes the next boot verify.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.queue.idle();
    await Promise.allSettled(this.verifying.values());
    await this.executor.close();
    let dead: string[] = [];
    let flushed = false;
    try {
      dead = deadOpeners(this.opened);
      // syncfs(2): all that any process wrote to this file system.
      await promisify(execFile)('sync', ['-f', this.dir], { timeout: FLUSH_TIMEOUT_MS });
      flushed = true;
    } catch (error) {
      this.log.warn('the cache could not be flushed to the disk; the next boot will verify it', { error });
    }
    try {
      closeIndex(this.opened, flushed, dead);
    } catch (error) {
      this.log.warn('the cache could not be marked as closed; the next boot will verify it', { error });
    }
  }

  /** The sum over all pins takes a second when whole images are pinned: it is made anew only so often that it takes a small part of the time. */
  private held(): ReturnType<ObjectIndex['heldBytes']> {
    const begin = performance.now();
    if (begin < this.heldUntil) return this.lastHeld;
    this.lastHeld = this.context.index.heldBytes();
    const took = performance.now() - begin;
    this.heldUntil = took < HELD_QUICK_MS ? 0 : performance.now() + took * HELD_SHARE;
    return this.lastHeld;
  }

  private async insertSmall(id: ObjectId, object: Omit<SmallObject, 'limitBytes'>, options: InsertOptions): Promise<Inserted> {
    let needBytes = 0;
    const reservation = this.evictor.reserve();
    try {
      for (let attempt = 0; attempt < STORE_ATTEMPTS; attempt++) {
        const result = await this.queue.store({ ...object, limitBytes: attempt === 0 ? this.evictor.unreservedLimit() : this.evictor.limit() }, options.lazy === true);
        if ('plainSize' in result) return result;
        if ('failure' in result) {
          // It unpacks to more than goes through a batch, and to no more than the caller accepts.
          if (result.failure.code === 'OBJECT_TOO_BIG' && object.maxPlainBytes < options.maxPlainBytes) return await this.insertLarge(id, one(object.stored), options);
          throw result.failure;
        }
        needBytes = result.needBytes;
        if (!(await this.hasRoom(reservation, needBytes, result.full))) break;
      }
    } finally {
      reservation.release();
    }
    const orMemory = options.orMemoryMaxBytes ?? 0;
    const plainLimit = Math.min(orMemory, options.maxPlainBytes);
    if (plainLimit === 0 || (object.plainSize ?? 0) > plainLimit) throw this.noSpace(object.name, needBytes);
    const memory = unpackSmall(id, object.stored, { plainSize: object.plainSize, maxPlainBytes: plainLimit });
    return { plainSize: memory.length, memory };
  }

  private async insertLarge(id: ObjectId, body: AsyncIterable<Uint8Array>, options: InsertOptions): Promise<Inserted> {
    const name = objectName(id);
    const limits = { plainSize: options.plainSize ?? null, maxPlainBytes: options.maxPlainBytes };
    const orMemoryMaxBytes = options.orMemoryMaxBytes ?? 0;
    const sink = new ObjectSink(this.context, this.evictor, { plainSize: limits.plainSize, orMemoryMaxBytes });
    try {
      const summary = await unpackStream(id, body, limits, (plain) => sink.write(plain), options.signal);
      const finished = await sink.finish();
      if ('bytes' in finished) return { plainSize: summary.length, memory: finished.bytes };
      const prepared = { name, length: summary.length, digest: summary.digest, temp: finished.temp };
      for (let attempt = 1; ; attempt++) {
        let failure: Failure;
        let full = false;
        try {
          if (publishObjects(this.context, [{ ...prepared, limitBytes: this.evictor.limit() }], this.now()).size === 1) return { plainSize: summary.length };
          failure = this.noSpace(name, chargedBytes(summary.length));
        } catch (error) {
          failure = Failure.from(error, `object ${name}`);
          full = true;
          if (failure.code !== 'NO_SPACE') throw failure;
        }
        if (attempt < STORE_ATTEMPTS && (await this.hasRoom(sink.reservation, chargedBytes(summary.length), full))) continue;
        if (summary.length > orMemoryMaxBytes || orMemoryMaxBytes === 0) throw failure;
        return { plainSize: summary.length, memory: await fs.promises.readFile(finished.temp) };
      }
    } finally {
      sink.dispose();
    }
  }

  private isReadable(stat: fs.Stats | undefined, plainSize: number | null): boolean {
    return stat?.isFile() === true && (plainSize === null || stat.size === plainSize) && hasGeneration(stat, this.generation);
  }

  /**
   * Makes room for an object that was refused, and keeps it: below the limit, or, when the file system was `full`, on the
   * disk. With the space reserved already another process has taken it, and as much again must go.
   */
  private async hasRoom(reservation: Reservation, bytes: number, full: boolean): Promise<boolean> {
    try {
      if (full) return await this.evictor.relieve(bytes);
      await reservation.grow(bytes);
      await this.evictor.makeRoom(0);
      return true;
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code !== 'NO_SPACE') throw failure;
      this.log.warn('an object does not fit into the cache', { error: failure });
      return false;
    }
  }

  /** A change of the index, once more after evicting when the disk is full. */
  private async withRoom(change: () => void): Promise<void> {
    await this.watched(async () => {
      try {
        change();
      } catch (error) {
        if (Failure.from(error).code !== 'NO_SPACE' || !(await this.evictor.relieve(1 << 20))) throw error;
        change();
      }
    });
  }

  /** Sets the index aside when `body` finds it damaged, so that the next opening does not find it again. */
  private async watched<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      if (error instanceof Failure && error.code === 'STATE_DAMAGED') {
        this.log.error('the index of the cache is damaged', { error });
        setDamagedIndexAside(this.dir, this.context.index);
      }
      throw error;
    }
  }

  private noSpace(name: string, bytes: number): Failure {
    return new Failure('NO_SPACE', `no space in the cache ${this.dir} for object ${name} (${bytes} bytes)`, { next: 'raise cache.limit, unpin images or free space on the disk' });
  }
}

function nameOf(id: CacheKey | string): string {
  return typeof id === 'string' ? id : objectName(id);
}

function freeBytes(dir: string): number {
  const stat = fs.statfsSync(dir);
  return stat.bavail * stat.bsize;
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The whole body when it has at most `maxBytes`, else a body that begins with what has been read already. */
async function gather(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<{ readonly bytes: Uint8Array; readonly rest: null } | { readonly rest: AsyncIterable<Uint8Array> }> {
  const iterator = body[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length <= maxBytes) {
    const next = await iterator.next();
    if (next.done === true) return { bytes: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length), rest: null };
    chunks.push(next.value);
    length += next.value.length;
  }
  async function* rest(): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { rest: rest() };
}
