/**
 * Fetching everything below a directory of a pinned view before anybody asks for it, or to keep it (`image prefetch`,
 * `image pin`, the completion of long-running images): catalogs as they are met, file objects a bounded number at a time,
 * never in the way of a demanded one, and if asked not faster than a rate.
 *
 * One run for each pin: who asks again for one that is under way waits for it (a service that was restarted), and
 * `forget` ends it before it lets go of the pin, so that no late batch pins for somebody who is gone.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../error';
import type { ObjectCache } from '../../cache/object-cache';
import { chargedBytes } from '../../cache/object-index';
import { objectName } from '../../cache/object-name';
import { isBind, isDirectory, isNestedMountpoint, isRegular } from '../../cvmfs/flags';
import { formatHash } from '../../cvmfs/hash';
import type { ContentHash } from '../../cvmfs/hash';
import { pathKey } from '../../cvmfs/path-key';
import type { Logger } from '../../log/logger';
import { catalogNeed } from '../../repository/catalog-set';
import type { CatalogSet } from '../../repository/catalog-set';
import { filePlan } from '../../repository/file-plan';
import { Missing } from '../../repository/missing';
import type { ObjectNeed } from '../../repository/missing';
import type { ObjectStore } from '../../repository/object-store';
import { Pace } from './pace';
import type { PaceWorld } from './pace';

const ROWS = 256;
/** Objects pinned in one transaction, and looked at then. */
const BATCH = 128;
/** Of the cache's limit that pins may fill when a run must leave room: the rest is for what is being read. */
const PINNED_FRACTION_MAX = 0.8;
const EMPTY = Buffer.alloc(0);
const PACE_WORLD: PaceWorld = { nowMs: () => performance.now(), sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined) };

export interface PrefetchResult {
  /** Objects of the tree, local ones included. */
  readonly objects: number;
  /** Their plain bytes. */
  readonly bytes: number;
  /** Objects that had to be fetched, or would have to be. */
  readonly fetched: number;
  /** Their plain bytes. */
  readonly fetchedBytes: number;
}

export interface PrefetchOptions {
  /** An owner's name: everything is pinned for it. */
  readonly pin: string | null;
  /** Plain bytes, what comes over the network is less; default 0, no limit. */
  readonly bytesPerSecond?: number;
  /** Begin only if the cache holds it beside what is pinned already, and leaves a fifth free; else NO_SPACE. */
  readonly mustFit?: boolean;
}

/** A directory: the catalog that it begins in, its path there. */
export interface PrefetchStart {
  readonly catalog: ContentHash;
  readonly path: Buffer;
}

interface Run {
  readonly abort: AbortController;
  readonly result: Promise<PrefetchResult>;
}

export interface PrefetchWorld {
  readonly catalogs: CatalogSet;
  readonly store: ObjectStore;
  readonly cache: ObjectCache;
  readonly log: Logger;
  /** Objects that it fetches at a time: as many as the transfer carries at once in the background, more would only wait there. */
  readonly inFlightMax: number;
  readonly pace?: PaceWorld;
}

export class Prefetch {
  readonly #world: PrefetchWorld;
  readonly #runs = new Map<string, Run>();

  constructor(world: PrefetchWorld) {
    this.#world = world;
  }

  /** Fetches the tree at a directory. NO_SPACE, CANCELLED when its pin was let go, and what fetching an object may throw. */
  run(start: () => Promise<PrefetchStart>, options: PrefetchOptions): Promise<PrefetchResult> {
    const { pin } = options;
    const running = pin === null ? undefined : this.#runs.get(pin);
    if (running !== undefined) return running.result;
    const abort = new AbortController();
    const result = this.#run(start, options, abort.signal);
    if (pin !== null) {
      this.#runs.set(pin, { abort, result });
      const ended = (): void => void this.#runs.delete(pin);
      result.then(ended, ended);
    }
    return result;
  }

  /** Only counts: nothing but catalogs is fetched. */
  async measure(start: () => Promise<PrefetchStart>): Promise<PrefetchResult> {
    const count = new Counter(this.#world.store);
    await this.#walk(await start(), new AbortController().signal, async (need) => {
      if (count.isNew(need)) count.isLocal(need);
      return Promise.resolve();
    });
    return count.result;
  }

  /** Ends the run under this pin, and forgets what it pinned. */
  async forget(pin: string): Promise<void> {
    const run = this.#runs.get(pin);
    run?.abort.abort();
    await run?.result.catch(() => undefined);
    await this.#world.cache.dropOwner(pin);
  }

  async #run(begin: () => Promise<PrefetchStart>, { pin, bytesPerSecond, mustFit }: PrefetchOptions, signal: AbortSignal): Promise<PrefetchResult> {
    const { store, cache, pace, inFlightMax } = this.#world;
    const start = await begin();
    if (mustFit === true) await this.#checkRoom(start, signal);
    const count = new Counter(store);
    const rate = new Pace(bytesPerSecond ?? 0, pace ?? PACE_WORLD);
    const flying = new Set<Promise<void>>();
    let batch: ObjectNeed[] = [];
    let failure: Failure | null = null;
    const fetch = async (need: ObjectNeed): Promise<void> => {
      try {
        await store.ensure(need, { background: true });
        // With no room on the disk the object is in memory now, which keeps nothing for anybody.
        if (pin !== null && !cache.has(need, need.plainSize)) throw new Failure('NO_SPACE', `${need.what} does not fit into the cache`, { next: 'raise cache.limit, or unpin images' });
      } catch (error) {
        failure ??= Failure.from(error);
      }
    };
    const flush = async (): Promise<void> => {
      const needs = batch;
      batch = [];
      // Pinned before it is looked at: what is here must not be evicted by what comes next.
      if (pin !== null && needs.length > 0) await cache.pin(pin, needs);
      for (const need of needs) {
        if (count.isLocal(need)) continue;
        await rate.take(need.plainSize ?? 0, signal);
        if (signal.aborted) throw cancelled();
        const one: Promise<void> = fetch(need).finally(() => flying.delete(one));
        flying.add(one);
        if (flying.size >= inFlightMax) await Promise.race(flying);
        if (failure !== null) throw failure;
      }
    };

    try {
      await this.#walk(start, signal, async (need) => {
        if (!count.isNew(need)) return;
        batch.push(need);
        if (batch.length >= BATCH) await flush();
      });
      await flush();
    } finally {
      await Promise.all(flying);
    }
    if (failure !== null) throw failure;
    return count.result;
  }

  async #checkRoom(start: PrefetchStart, signal: AbortSignal): Promise<void> {
    const { store, cache } = this.#world;
    const count = new Counter(store);
    let needed = 0;
    await this.#walk(start, signal, async (need) => {
      if (count.isNew(need) && !(count.isLocal(need) && cache.isPinned(need))) needed += chargedBytes(need.plainSize ?? 0);
      return Promise.resolve();
    });
    const { pinnedBytes, effectiveLimitBytes } = cache.room();
    const mostBytes = Math.floor(effectiveLimitBytes * PINNED_FRACTION_MAX);
    if (pinnedBytes + needed <= mostBytes) return;
    throw new Failure('NO_SPACE', `the image takes ${needed} bytes more, ${pinnedBytes} are pinned, and pins may fill ${mostBytes} of the cache's ${Math.floor(effectiveLimitBytes)}`, {
      next: 'raise cache.limit, or unpin images',
      data: { neededBytes: needed, pinnedBytes, mostBytes },
    });
  }

  /** All objects that the tree needs, in the order of its rows; those used more than once come more than once. */
  async #walk(start: PrefetchStart, signal: AbortSignal, take: (need: ObjectNeed) => Promise<void>): Promise<void> {
    const folders: PrefetchStart[] = [start];
    await take(catalogNeed(start.catalog, null, EMPTY));
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) await this.#folder(folder, folders, signal, take);
  }

  async #folder({ catalog: hash, path }: PrefetchStart, folders: PrefetchStart[], signal: AbortSignal, take: (need: ObjectNeed) => Promise<void>): Promise<void> {
    for (let after = 0; ; ) {
      // Where all is local nothing else waits: readers, the keeper's pings and this thread's other work get their turn here.
      await nextTurn();
      if (signal.aborted) throw cancelled();
      const rows = await this.#local(() => this.#world.catalogs.get(hash, path).children(pathKey(path), after, ROWS));
      if (rows.length === 0) return;
      for (const entry of rows) {
        const below = Buffer.concat([path, Buffer.from('/'), entry.name]);
        if (isRegular(entry.flags)) {
          const plan = await this.#local(() => filePlan(this.#world.catalogs.get(hash, path), formatHash(hash), entry));
          for (const part of plan.parts) await take(part.need);
        } else if (isNestedMountpoint(entry.flags) || isBind(entry.flags)) {
          const nested = await this.#local(() => this.#world.catalogs.get(hash, path).nestedAt(below));
          if (nested === undefined) continue;
          await take(catalogNeed(nested.hash, nested.size || null, below));
          folders.push({ catalog: nested.hash, path: nested.bind ? EMPTY : below });
        } else if (isDirectory(entry.flags)) folders.push({ catalog: hash, path: below });
      }
      after = rows[rows.length - 1]!.rowid;
    }
  }

  async #local<T>(work: () => T): Promise<T> {
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        await this.#world.store.ensure(error.need, { background: true });
      } finally {
        this.#world.catalogs.closeRetired();
      }
    }
  }
}

function cancelled(): Failure {
  return new Failure('CANCELLED', 'nobody wants it to be fetched any more');
}

/** Counts distinct objects, and those that are not here. */
class Counter {
  readonly #seen = new Set<string>();
  readonly result = { objects: 0, bytes: 0, fetched: 0, fetchedBytes: 0 };

  constructor(private readonly store: ObjectStore) {}

  isNew(need: ObjectNeed): boolean {
    const name = objectName(need);
    if (this.#seen.has(name)) return false;
    this.#seen.add(name);
    this.result.objects += 1;
    this.result.bytes += need.plainSize ?? 0;
    return true;
  }

  /** Asked once of each. */
  isLocal(need: ObjectNeed): boolean {
    if (this.store.isLocal(need)) return true;
    this.result.fetched += 1;
    this.result.fetchedBytes += need.plainSize ?? 0;
    return false;
  }
}
