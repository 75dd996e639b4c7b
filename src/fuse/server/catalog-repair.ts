/** Catalogs that cannot be read may be damaged on the disk: then they are fetched again, while a request waits. */
import * as fs from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { ObjectCache } from '../../cache/object-cache';
import type { Logger } from '../../log/logger';
import { catalogNeed } from '../../repository/catalog-set';
import type { ObjectStore } from '../../repository/object-store';
import type { ThreadTree } from './thread-tree';

const SOUND_MS = 10_000;
/** The newest places of the index list that one pass looks at. */
const PLACES_MAX = 256;

export class CatalogRepair {
  readonly #fqrn: string;
  readonly #thread: ThreadTree;
  readonly #store: ObjectStore;
  readonly #cache: ObjectCache;
  readonly #log: Logger;
  #running: Promise<boolean> | null = null;
  /** Catalogs that were verified a moment ago, with the state that their files had. */
  readonly #sound = new LRUCache<string, string>({ max: 1_024, ttl: SOUND_MS });

  constructor(fqrn: string, thread: ThreadTree, store: ObjectStore, cache: ObjectCache, log: Logger) {
    this.#fqrn = fqrn;
    this.#thread = thread;
    this.#store = store;
    this.#cache = cache;
    this.#log = log;
  }

  /** Verifies the catalogs in use; true when one was damaged and has been removed. One pass for all who ask meanwhile. */
  run(): Promise<boolean> {
    this.#running ??= this.#verify().finally(() => (this.#running = null));
    return this.#running;
  }

  async #verify(): Promise<boolean> {
    let repaired = false;
    for (const place of this.#thread.places.all().slice(-PLACES_MAX)) {
      const need = catalogNeed(place.catalog, null, place.mountPath);
      if (!this.#store.isLocal(need)) continue;
      // A catalog may be sound and its publisher hostile: whoever reads it again and again does not have it hashed each time.
      const state = fileState(this.#cache.file(need));
      if (this.#sound.get(place.catalogText) === state) continue;
      if (!(await this.#store.wasDamaged(need))) {
        this.#sound.set(place.catalogText, state);
        continue;
      }
      this.#log.warn('a damaged catalog was removed from the cache and is fetched again', { repository: this.#fqrn, catalog: place.catalogText });
      repaired = true;
    }
    if (repaired) this.#thread.catalogs.close();
    return repaired;
  }
}

/** Differs after each change of a file's bytes. */
function fileState(file: string): string {
  const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'absent' : `${stat.ino} ${stat.size} ${stat.ctimeNs}`;
}
