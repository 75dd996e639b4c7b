/**
 * The catalogs that one thread has open. A catalog is a file of the cache, immutable, so any number of threads may read
 * it; which ones are open is bounded, since each costs a descriptor and some KiB. Their pages are in one pool.
 */
import { LRUCache } from 'lru-cache';
import { Failure } from '../error';
import { Catalog } from '../cvmfs/catalog';
import { PagePool } from '../cvmfs/sqlite/page-file';
import { formatHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { objectFile, objectName } from '../cache/object-name';
import type { ObjectReader } from '../cache/object-reader';
import { Missing } from './missing';
import type { ObjectNeed } from './missing';
import type { Spill } from './spill';

/** Default of the catalogs that a thread keeps open. */
const OPEN_CATALOGS_MAX = 128;
/** Pages of catalogs that a thread keeps: the inner pages of large ones, and what is being read. The kernel has the rest. */
const PAGES_BYTES_MAX = 2 << 20;
/** Catalogs that are said to be read through SQLite; what comes after them is not said. */
const UNFAMILIAR_MAX = 100;

export interface CatalogSetOptions {
  readonly openMax?: number;
  /** Told once of each catalog that our own reader does not understand. */
  readonly unfamiliar?: (what: string, why: string) => void;
}

export function catalogNeed(hash: ContentHash, plainSize: number | null, mountPath: Buffer): ObjectNeed {
  return { hash, compression: 'zlib', kind: 'catalog', plainSize, what: `catalog of ${mountPath.length === 0 ? '/' : mountPath.toString()}` };
}

export class CatalogSet {
  readonly #cacheDir: string;
  readonly #objects: ObjectReader;
  readonly #spill: Spill;
  readonly #open: LRUCache<string, Catalog>;
  readonly #pool = new PagePool(PAGES_BYTES_MAX);
  readonly #unfamiliar = new Set<string>();
  readonly #options: CatalogSetOptions;
  #retired: Catalog[] = [];

  constructor(cacheDir: string, objects: ObjectReader, spill: Spill, options: CatalogSetOptions = {}) {
    this.#options = options;
    this.#cacheDir = cacheDir;
    this.#objects = objects;
    this.#spill = spill;
    // A catalog is closed only between requests (`closeRetired`): within one, a caller may hold it across a lookup of another.
    this.#open = new LRUCache({ max: options.openMax ?? OPEN_CATALOGS_MAX, dispose: (catalog) => this.#retired.push(catalog) });
  }

  /**
   * The catalog, opened from the local cache. Throws `Missing` when it is not there, CATALOG_INVALID when it is refused.
   * `mountPath` is only for messages; `plainSize` is what the parent says, 0 or null when it does not.
   */
  get(hash: ContentHash, mountPath: Buffer, plainSize: number | null = null, text: string = formatHash(hash)): Catalog {
    const known = this.#open.get(text);
    if (known !== undefined) return known;
    const need = catalogNeed(hash, plainSize === 0 ? null : plainSize, mountPath);
    const fd = this.#objects.open(need, need.plainSize);
    const cached = fd !== null && fd !== 'unverified';
    const file = cached ? objectFile(this.#cacheDir, objectName(need)) : this.#spill.find(objectName(need));
    if (file === null) throw new Missing(need);
    try {
      const catalog = Catalog.open(file, { pool: this.#pool, unfamiliar: (why) => this.#tell(text, `${need.what} (${text})`, why) });
      this.#open.set(text, catalog);
      return catalog;
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code !== 'CATALOG_INVALID') throw failure;
      throw new Failure('CATALOG_INVALID', `${need.what} (${text}): ${failure.what}`, { cause: error, next: 'tell the publisher of the repository' });
    }
  }

  #tell(text: string, what: string, why: string): void {
    if (this.#unfamiliar.has(text) || this.#unfamiliar.size >= UNFAMILIAR_MAX) return;
    this.#unfamiliar.add(text);
    this.#options.unfamiliar?.(what, why);
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** To be called when no request is being answered. */
  closeRetired(): void {
    if (this.#retired.length === 0) return;
    for (const catalog of this.#retired) catalog.close();
    this.#retired = [];
  }

  close(): void {
    this.#open.clear();
    this.closeRetired();
  }
}
