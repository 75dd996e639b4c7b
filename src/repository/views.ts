/**
 * Pinned views: the tree of one catalog and all below it, shown for ever at `.cvmfs-view/<catalog hash>`
 * (docs/architecture.md, pinned views). That a view exists is a line of the index list; who holds it is kept in the
 * cache's index, as the owner of its pins; so a server that dies forgets nothing.
 */
import { Failure } from '../error';
import type { ObjectCache } from '../cache/object-cache';
import type { CacheKey } from '../cache/object-name';
import { formatHash, parseHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import type { Logger } from '../log/logger';
import type { CatalogSet } from './catalog-set';
import { catalogNeed } from './catalog-set';
import { VIEWS_NAME } from './node-id';
import type { ObjectStore } from './object-store';
import type { PlaceList } from './places';
import type { Snapshot, ViewPath } from './reader';
import type { Walker } from './walker';

const HOLDER = /^[A-Za-z0-9._-]{1,128}$/;
/** How the service calls its own holds on images that no container uses. */
const IMAGE_HOLDER = 'image.';
const EMPTY = Buffer.alloc(0);
const SLASH = Buffer.from('/');

export interface ViewsWorld {
  readonly fqrn: string;
  readonly walker: Walker;
  readonly store: ObjectStore;
  readonly catalogs: CatalogSet;
  readonly places: PlaceList;
  readonly cache: ObjectCache;
  readonly log: Logger;
}

export class Views {
  readonly #world: ViewsWorld;
  /** Places whose catalogs have been pinned for the holders of their view. */
  #pinned = 0;

  constructor(world: ViewsWorld) {
    this.#world = world;
  }

  /** Makes the directory at `path` reachable for ever. `path` must hold no symbolic link: what the walk gave. */
  async make(snapshot: Snapshot, path: Buffer): Promise<ViewPath> {
    const { walker, fqrn } = this.#world;
    const walked = await walker.walk(snapshot, path);
    if (walked.type !== 'directory') throw new Failure('NOT_A_DIRECTORY', `${path.toString()} in ${fqrn} is a ${walked.type}, not a directory`);
    const prefix = walked.catalog.path.equals(SLASH) ? EMPTY : walked.catalog.path;
    const wanted = path.equals(SLASH) ? EMPTY : path;
    if (!(walked.path.equals(SLASH) ? EMPTY : walked.path).equals(wanted)) throw new Failure('INVALID_ARGUMENT', `${path.toString()} in ${fqrn} leads through a symbolic link`, { next: 'resolve it first' });
    return this.#show(walked.catalog.hash, prefix.length === wanted.length ? SLASH : wanted.subarray(prefix.length));
  }

  /** Makes a view again from its hash, on a new mount. NOT_FOUND when the directory is not in it. */
  async restore(view: string, pathInView: Buffer): Promise<ViewPath> {
    const { store, catalogs, walker } = this.#world;
    const hash = parseHash(view);
    await store.ensure(catalogNeed(hash, null, EMPTY));
    const catalog = catalogs.get(hash, EMPTY);
    const walked = await walker.walkFrom(hash, catalog.rootPrefix, pathInView);
    if (walked.type !== 'directory') throw new Failure('NOT_A_DIRECTORY', `${pathInView.toString()} in view ${view} is a ${walked.type}`);
    return this.#show(view, pathInView);
  }

  /** A directory of a view for work on its catalogs: the catalog that it begins in, and its path there. */
  async directory(view: string, pathInView: Buffer): Promise<{ readonly catalog: ContentHash; readonly path: Buffer }> {
    const hash = parseHash(view);
    await this.#world.store.ensure(catalogNeed(hash, null, EMPTY));
    const prefix = this.#world.catalogs.get(hash, EMPTY).rootPrefix;
    const walked = await this.#world.walker.walkFrom(hash, prefix, pathInView);
    if (walked.type !== 'directory') throw new Failure('NOT_A_DIRECTORY', `${pathInView.toString()} in view ${view} is a ${walked.type}`);
    const inner = parseHash(walked.catalog.hash);
    return { catalog: inner, path: Buffer.concat([prefix, walked.path.equals(SLASH) ? EMPTY : walked.path]) };
  }

  #show(view: string, pathInView: Buffer): ViewPath {
    const { places, catalogs } = this.#world;
    const hash = parseHash(view);
    const catalog = catalogs.get(hash, EMPTY);
    const mountPath = catalog.rootPrefix;
    places.ensure(`view@${view}`, hash, mountPath, () => ({ maxRowid: catalog.maxRowid, ancestors: [] }));
    const below = pathInView.equals(SLASH) ? EMPTY : pathInView;
    return { view, pathInView, pathInMount: Buffer.concat([VIEWS_NAME, SLASH, Buffer.from(view), below]) };
  }

  /** Keeps the catalogs of the view, now and those attached later, from eviction until `release`. */
  async hold(view: string, holder: string): Promise<void> {
    if (this.#world.places.view(view) === undefined) throw new Failure('NOT_FOUND', `no view ${view} on this mount of ${this.#world.fqrn}`);
    await this.#world.cache.pin(this.#owner(view, holder), this.#catalogsOf(view));
  }

  async release(view: string, holder: string): Promise<void> {
    await this.#world.cache.dropOwner(this.#owner(view, holder));
  }

  /** Holders of any view of this repository, as the cache's index has them. */
  holders(): Array<{ readonly view: string; readonly holder: string; readonly owner: string }> {
    const prefix = `view/${this.#world.fqrn}/`;
    return this.#world.cache
      .usage()
      .owners.filter(({ owner }) => owner.startsWith(prefix))
      .map(({ owner }) => {
        const [view = '', holder = ''] = owner.slice(prefix.length).split('/');
        return { view, holder, owner };
      });
  }

  /** Views with a holder that is no remembered image. */
  usedByContainers(): ReadonlySet<string> {
    return new Set(this.holders().flatMap(({ view, holder }) => (holder.startsWith(IMAGE_HOLDER) ? [] : [view])));
  }

  /** Pins catalogs that readers have attached inside held views since the last call. Cheap when there are none. */
  async pinAttached(): Promise<void> {
    const places = this.#world.places.all();
    if (places.length === this.#pinned) return;
    const fresh = places.slice(this.#pinned).filter((place) => place.space.startsWith('view@'));
    const upTo = places.length;
    const holders = fresh.length === 0 ? [] : this.holders();
    for (const { view, owner } of holders) {
      const catalogs = fresh.filter((place) => place.space === `view@${view}`).map((place): CacheKey => ({ hash: place.catalog, compression: 'zlib' }));
      if (catalogs.length > 0) await this.#world.cache.pin(owner, catalogs);
    }
    this.#pinned = upTo;
  }

  #catalogsOf(view: string): CacheKey[] {
    return this.#world.places
      .all()
      .filter((place) => place.space === `view@${view}`)
      .map((place) => ({ hash: place.catalog, compression: 'zlib' }));
  }

  #owner(view: string, holder: string): string {
    if (!HOLDER.test(holder)) throw new Failure('INVALID_ARGUMENT', `a holder of a view is named ${JSON.stringify(holder.slice(0, 140))}`, { next: 'use letters, digits, dots, dashes, at most 128' });
    return `view/${this.#world.fqrn}/${formatHash(parseHash(view))}/${holder}`;
  }
}
