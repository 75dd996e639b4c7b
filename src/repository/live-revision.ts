/**
 * The live tree's revision in a file system server: which one it is, when it is looked at again, and the switch to a
 * newer one. The switch is one number in shared memory; open files, views and everything below the root keep what they
 * have, since their node ids name the old catalogs.
 */
import { Failure } from '../error';
import type { RepositoryConfig } from '../config/repository-config';
import { formatHash } from '../cvmfs/hash';
import type { Logger } from '../log/logger';
import type { Catalog } from '../cvmfs/catalog';
import { pathKey } from '../cvmfs/path-key';
import type { CatalogSet } from './catalog-set';
import { catalogNeed } from './catalog-set';
import { VIEWS_NAME } from './node-id';
import type { ObjectStore } from './object-store';
import type { Place, PlaceList } from './places';
import type { Revision, RevisionSource } from './revision-source';
import type { SharedState } from './shared-state';

/** After a failed look, and while only the cache vouches for the revision (spec 5.4). */
const RETRY_MS = 180_000;
/** A mount of a fixed revision: its entries are kept for ever. */
const FIXED_MS = 10 * 365 * 86_400_000;
/** The whitelist's end is warned about from this long before. */
const WHITELIST_WARNING_MS = 3 * 86_400_000;
const EMPTY = Buffer.alloc(0);
const VIEWS_KEY = pathKey(Buffer.concat([Buffer.from('/'), VIEWS_NAME]));

export interface LiveWorld {
  readonly config: RepositoryConfig;
  readonly source: RevisionSource;
  readonly store: ObjectStore;
  readonly catalogs: CatalogSet;
  readonly places: PlaceList;
  readonly shared: SharedState;
  readonly monotonicMs: () => number;
  readonly now: () => Date;
  readonly log: Logger;
  /** Called after a switch: the kernel's listing of the root is to be dropped. */
  readonly switched: () => void;
  /** Keeps the root catalog from eviction. */
  readonly pin: (catalog: ReturnType<typeof catalogNeed>) => void;
}

export class LiveRevision {
  readonly #world: LiveWorld;
  #current: Revision | null = null;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<boolean> | null = null;
  #ttlMs = RETRY_MS;
  #lastError: Failure | null = null;
  /** The revision has an entry where our own directory of views is. */
  #shadowsViews = false;
  #warned = new Set<string>();

  constructor(world: LiveWorld) {
    this.#world = world;
  }

  get current(): Revision {
    if (this.#current === null) throw new Failure('INTERNAL', 'the mount has no revision yet');
    return this.#current;
  }

  /** What the last look at the servers ended with; null when it went well. */
  get lastError(): Failure | null {
    return this.#lastError;
  }

  get isFixed(): boolean {
    return this.#world.config.fixed.kind !== 'trunk' || !this.#world.config.autoUpdate;
  }

  /**
   * Begins with the newest revision. `before`: the place that a predecessor of this server showed last; its revision is
   * shown at once, without asking anybody, so that a restart does not wait for the network.
   */
  async start(before: Place | undefined): Promise<void> {
    if (before !== undefined && (await this.#resume(before))) return;
    const revision = await this.#world.source.first();
    await this.#adopt(revision);
  }

  async #resume(place: Place): Promise<boolean> {
    const { store, catalogs, shared, log, config, monotonicMs } = this.#world;
    const need = catalogNeed(place.catalog, null, EMPTY);
    try {
      if (!(await store.verifyLocal(need))) await store.ensure(need);
      const catalog = catalogs.get(place.catalog, EMPTY);
      this.#current = { rootHash: place.catalog, rootSize: null, revision: catalog.revision, publishedAt: Number(catalog.property('last_modified') ?? 0), metainfo: null, whitelistValidUntil: null, offline: !this.isFixed };
      this.#ttlMs = this.#ttl(catalog.ttlSeconds);
      this.#shadowsViews = shadowsViews(catalog);
      shared.setLive(place.index, this.isFixed ? monotonicMs() + FIXED_MS : monotonicMs());
      this.#world.pin(need);
      if (!this.isFixed) this.#schedule(0);
      return true;
    } catch (error) {
      log.warn('the revision shown before is not to be had any more', { repository: config.fqrn, rootHash: place.catalogText, error });
      return false;
    }
  }

  /** Looks for a newer revision now. Resolves to true after a switch. */
  look(): Promise<boolean> {
    this.#looking ??= this.#look().finally(() => (this.#looking = null));
    return this.#looking;
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #look(): Promise<boolean> {
    const { source, shared, monotonicMs } = this.#world;
    try {
      const newer = await source.newer(this.current);
      this.#lastError = null;
      if (newer !== null) {
        await this.#adopt(newer);
        return true;
      }
      this.#current = { ...(this.#whitelistIsOld() ? await source.confirmed(this.current) : this.current), offline: false };
      shared.setLiveExpiry(monotonicMs() + this.#ttlMs);
      this.#schedule(this.#ttlMs);
    } catch (error) {
      this.#lastError = Failure.from(error);
      const wait = Math.min(RETRY_MS, this.#ttlMs);
      shared.setLiveExpiry(monotonicMs() + wait);
      this.#schedule(wait);
    }
    this.#warn();
    return false;
  }

  async #adopt(revision: Revision): Promise<void> {
    const { store, catalogs, places, shared, log, config, monotonicMs } = this.#world;
    const need = catalogNeed(revision.rootHash, revision.rootSize, EMPTY);
    await store.ensure(need);
    const catalog = catalogs.get(revision.rootHash, EMPTY, revision.rootSize);
    if (catalog.rootPrefix.length !== 0) throw new Failure('CATALOG_INVALID', `the root catalog of ${config.fqrn} is that of ${catalog.rootPrefix.toString()}`, { next: 'tell the publisher of the repository' });
    const text = formatHash(revision.rootHash);
    const place = places.ensure(`live@${text}`, revision.rootHash, EMPTY, () => ({ maxRowid: catalog.maxRowid, ancestors: [] }));
    this.#world.pin(need);
    this.#ttlMs = this.#ttl(catalog.ttlSeconds);
    this.#shadowsViews = shadowsViews(catalog);
    const first = this.#current === null;
    this.#current = config.fixed.kind === 'rootHash' ? { ...revision, revision: catalog.revision } : revision;
    const lifetime = this.isFixed ? FIXED_MS : revision.offline ? Math.min(RETRY_MS, this.#ttlMs) : this.#ttlMs;
    shared.setLive(place.index, monotonicMs() + lifetime);
    if (!first) this.#world.switched();
    if (!this.isFixed) this.#schedule(lifetime);
    log.info('revision', { repository: config.fqrn, revision: this.#current.revision, rootHash: text, offline: revision.offline });
    this.#warn();
  }

  #ttl(catalogSeconds: number): number {
    const { maxTtlMs } = this.#world.config;
    return Math.min(catalogSeconds * 1000, maxTtlMs ?? Number.MAX_SAFE_INTEGER);
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.look(), Math.min(delayMs, 2 ** 31 - 1));
    this.#timer.unref();
  }

  /** What an operator should know of the revision that is shown. */
  warnings(): string[] {
    const { fqrn } = this.#world.config;
    const revision = this.#current;
    const offline = `revision ${revision?.revision} of ${fqrn} comes from the cache, and no server has confirmed it: what is not in the cache can not be read, and newer revisions are not seen`;
    const error = `no server could be asked for a newer revision of ${fqrn}`;
    return [
      this.#whitelistWarning(),
      this.#lastError !== null ? `${error}: ${this.#lastError.message}` : revision?.offline === true && !this.isFixed ? offline : null,
      this.#shadowsViews ? `${fqrn} has an entry ${VIEWS_NAME.toString()} in its root, which is neither shown nor reachable: pinned views are there` : null,
    ].filter((text) => text !== null);
  }

  /** True when the whitelist that vouches for this revision is not known, or ends soon: the servers may have a newer one. */
  #whitelistIsOld(): boolean {
    const left = this.#whitelistLeftMs();
    return left === null || left <= WHITELIST_WARNING_MS;
  }

  #whitelistLeftMs(): number | null {
    const until = this.#current?.whitelistValidUntil;
    return until === null || until === undefined ? null : until.getTime() - this.#world.now().getTime();
  }

  #whitelistWarning(): string | null {
    const left = this.#whitelistLeftMs();
    const until = this.#current?.whitelistValidUntil;
    if (left === null || left > WHITELIST_WARNING_MS) return null;
    const { fqrn } = this.#world.config;
    return left > 0
      ? `the whitelist of ${fqrn} ends at ${until!.toISOString()}; from then on no new revision is accepted and no new mount without a newer whitelist: ask the repository's owner to sign it again`
      : `the whitelist of ${fqrn} has ended at ${until!.toISOString()}; no new revision is accepted: ask the repository's owner to sign it again`;
  }

  /** Each warning once in the log, as long as it holds. */
  #warn(): void {
    const warnings = this.warnings();
    for (const text of warnings) if (!this.#warned.has(text)) this.#world.log.warn(text, { repository: this.#world.config.fqrn });
    this.#warned = new Set(warnings);
  }
}

function shadowsViews(root: Catalog): boolean {
  return root.byKey(VIEWS_KEY) !== undefined;
}
