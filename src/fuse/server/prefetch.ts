/**
 * Fetching everything below a directory of a pinned view before anybody asks for it, or to keep it (`image prefetch`,
 * `image pin`): catalogs as they are met, file objects a bounded number at a time, never in the way of a demanded one.
 */
import { Failure } from '../../error';
import type { ObjectCache } from '../../cache/object-cache';
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

const IN_FLIGHT_MAX = 16;
const ROWS = 256;
/** Names pinned in one transaction. */
const PIN_BATCH = 512;
const EMPTY = Buffer.alloc(0);

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
  /** Only count: nothing but catalogs is fetched. */
  readonly dry?: boolean;
}

interface Folder {
  readonly catalog: ContentHash;
  readonly path: Buffer;
}

export class Prefetch {
  readonly #world: { readonly catalogs: CatalogSet; readonly store: ObjectStore; readonly cache: ObjectCache; readonly log: Logger };

  constructor(world: { readonly catalogs: CatalogSet; readonly store: ObjectStore; readonly cache: ObjectCache; readonly log: Logger }) {
    this.#world = world;
  }

  /** Fetches the tree at `path` inside the catalog `view`. */
  async run(view: ContentHash, path: Buffer, { pin, dry }: PrefetchOptions): Promise<PrefetchResult> {
    const { store, cache } = this.#world;
    const seen = new Set<string>();
    const flying = new Set<Promise<void>>();
    let pins: ObjectNeed[] = [];
    const result = { objects: 0, bytes: 0, fetched: 0, fetchedBytes: 0 };
    let failure: Failure | null = null;
    const flushPins = async (): Promise<void> => {
      if (pin !== null && pins.length > 0) await cache.pin(pin, pins);
      pins = [];
    };
    const take = async (need: ObjectNeed): Promise<void> => {
      const name = objectName(need);
      if (seen.has(name)) return;
      seen.add(name);
      result.objects += 1;
      result.bytes += need.plainSize ?? 0;
      if (pin !== null) pins.push(need);
      if (pins.length >= PIN_BATCH) await flushPins();
      if (store.isLocal(need)) return;
      result.fetched += 1;
      result.fetchedBytes += need.plainSize ?? 0;
      if (dry === true) return;
      const one: Promise<void> = store.ensure(need, { background: true }).then(
        () => void flying.delete(one),
        (error: unknown) => {
          flying.delete(one);
          failure ??= Failure.from(error);
        },
      );
      flying.add(one);
      if (flying.size >= IN_FLIGHT_MAX) await Promise.race(flying);
      if (failure !== null) throw failure;
    };

    const folders: Folder[] = [{ catalog: view, path }];
    await take(catalogNeed(view, null, EMPTY));
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) await this.#folder(folder, folders, take);
    await flushPins();
    await Promise.all(flying);
    if (failure !== null) throw failure;
    return result;
  }

  async #folder({ catalog: hash, path }: Folder, folders: Folder[], take: (need: ObjectNeed) => Promise<void>): Promise<void> {
    for (let after = 0; ; ) {
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
