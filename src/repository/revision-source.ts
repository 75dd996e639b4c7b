/**
 * Which revision a mount shows: fetched and verified from the servers, or, when they cannot be reached or offer nothing
 * acceptable, the newest that was accepted before, as long as its whitelist is valid (spec 3.1, 3.6, 5.4).
 */
import { Failure } from '../error';
import type { Code } from '../error';
import type { RepositoryFiles } from '../cache/repository-files';
import { parseBreadcrumb, serializeBreadcrumb } from '../cvmfs/breadcrumb';
import type { Breadcrumb } from '../cvmfs/breadcrumb';
import { formatHash, parseHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { History } from '../cvmfs/history';
import { MAX_MANIFEST_BYTES } from '../cvmfs/manifest';
import { chooseRevision } from '../cvmfs/revision';
import { checkManifest, verifyTrust } from '../cvmfs/trust';
import type { Trusted, TrustedManifest } from '../cvmfs/trust';
import { MAX_WHITELIST_BYTES } from '../cvmfs/whitelist';
import type { RepositoryConfig } from '../config/repository-config';
import type { Logger } from '../log/logger';
import type { Transfer, TransferInfo } from '../transfer/transfer';
import { catalogNeed } from './catalog-set';
import type { ObjectNeed } from './missing';
import type { ObjectStore } from './object-store';

/** One revision that a mount may show. */
export interface Revision {
  readonly rootHash: ContentHash;
  /** Bytes of the decompressed root catalog; null when nobody said. */
  readonly rootSize: number | null;
  readonly revision: number;
  /** Unix seconds of its publication; 0 when unknown. */
  readonly publishedAt: number;
  readonly metainfo: ContentHash | null;
  /** From this moment on nothing new is accepted under the present whitelist; null for a root hash given by hand. */
  readonly whitelistValidUntil: Date | null;
  /** True while no server has confirmed it: it comes from the local cache. */
  readonly offline: boolean;
}

export interface RevisionWorld {
  readonly config: RepositoryConfig;
  readonly transfer: Transfer;
  readonly store: ObjectStore;
  readonly files: RepositoryFiles;
  readonly now: () => Date;
  readonly log: Logger;
  /** Path of a local object, for databases that are opened by path. */
  readonly objectFile: (need: ObjectNeed) => string;
}

/** What the servers gave and the trust chain accepted; whether it is taken is another question (rollback). */
interface Fetched {
  readonly trusted: Trusted;
  /** Remembers it: what the next start may begin with when no server answers. Its root catalog is local. */
  readonly keep: () => Promise<void>;
}

const TRUST_CODES: ReadonlySet<Code> = new Set(['MANIFEST_INVALID', 'MANIFEST_OUTDATED', 'WHITELIST_INVALID', 'WHITELIST_EXPIRED', 'CERTIFICATE_INVALID', 'BLACKLISTED'] as const);
const EMPTY = Buffer.alloc(0);
const EARLY_CATALOG_BYTES_MAX = 64 << 20;
const HISTORY_TAG_LIST_MAX = 20;

async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function certificateNeed(hash: ContentHash, fqrn: string): ObjectNeed {
  return { hash, kind: 'certificate', compression: 'zlib', plainSize: null, what: `certificate of ${fqrn}` };
}

function historyNeed(hash: ContentHash, fqrn: string): ObjectNeed {
  return { hash, kind: 'history', compression: 'zlib', plainSize: null, what: `history of ${fqrn}` };
}

export class RevisionSource {
  readonly #world: RevisionWorld;

  constructor(world: RevisionWorld) {
    this.#world = world;
  }

  /** The revision to begin with. Its root catalog is not necessarily local yet. */
  async first(): Promise<Revision> {
    const { config, log } = this.#world;
    if (config.fixed.kind === 'rootHash') {
      return { rootHash: parseHash(config.fixed.hash), rootSize: null, revision: 0, publishedAt: 0, metainfo: null, whitelistValidUntil: null, offline: false };
    }
    const cached = await this.#breadcrumb();
    let trusted: Trusted;
    let offline = false;
    try {
      const fetched = await this.#fetch(cached?.timestamp);
      trusted = fetched.trusted;
      const choice = chooseRevision({ cached, server: crumb(trusted.manifest) });
      if (choice.use === 'cached' && choice.why !== 'same' && cached !== undefined) {
        log.warn('the servers offer no newer revision than the one known here', { repository: config.fqrn, why: choice.why, offered: trusted.manifest.revision, known: cached.revision });
        trusted = await this.#fromCache();
        offline = true;
      } else await fetched.keep();
    } catch (error) {
      const failure = Failure.from(error);
      try {
        trusted = await this.#fromCache();
      } catch (cacheError) {
        const kept = Failure.from(cacheError);
        if (kept.code === 'NOT_FOUND') throw failure;
        throw new Failure(failure.code, `${failure.what}; what the cache has is not acceptable either: ${kept.what}`, { cause: failure, data: failure.data, ...(failure.next === undefined ? {} : { next: failure.next }) });
      }
      offline = true;
      log.warn('no server gave an acceptable manifest; using the newest revision known here', { repository: config.fqrn, revision: trusted.manifest.revision, error: failure });
    }
    return this.#fixed(trusted, offline);
  }

  /** Looks for a newer revision than `current`; null when there is none. Throws when no server could be asked. */
  async newer(current: Revision): Promise<Revision | null> {
    const known: Breadcrumb = { rootHash: current.rootHash, revision: current.revision, timestamp: current.publishedAt };
    const fetched = await this.#fetch(current.publishedAt, current.rootHash);
    if (fetched === null) return null;
    const { trusted } = fetched;
    const choice = chooseRevision({ cached: known, server: crumb(trusted.manifest) });
    if (choice.use === 'server') {
      await fetched.keep();
      return revisionOf(trusted, false);
    }
    if (choice.use === 'cached' && choice.why === 'conflict') this.#world.log.warn('a server has another root catalog under the same revision', { repository: this.#world.config.fqrn, revision: current.revision, here: formatHash(current.rootHash), there: formatHash(trusted.manifest.rootHash) });
    return null;
  }

  /**
   * The same revision, vouched for by what the servers have now: a whitelist is signed again without any publication.
   * Throws what `newer` throws.
   */
  async confirmed(current: Revision): Promise<Revision> {
    const { trusted, keep } = await this.#fetch(current.publishedAt);
    // A publication since the last question; the next one finds it.
    if (formatHash(trusted.manifest.rootHash) !== formatHash(current.rootHash)) return current;
    await keep();
    return { ...current, metainfo: trusted.manifest.metainfo ?? null, whitelistValidUntil: trusted.whitelist.validUntil };
  }

  async #remember(trusted: Trusted, manifest: Buffer, whitelist: Buffer): Promise<void> {
    try {
      await this.#world.files.write('manifest', manifest);
      await this.#world.files.write('whitelist', whitelist);
      await this.#world.files.write('breadcrumb', Buffer.from(serializeBreadcrumb(crumb(trusted.manifest))));
    } catch (error) {
      this.#world.log.warn('the accepted manifest was not kept; without servers this repository could not be mounted', { repository: this.#world.config.fqrn, error });
    }
  }

  async #breadcrumb(): Promise<Breadcrumb | undefined> {
    const bytes = await this.#world.files.read('breadcrumb');
    if (bytes === null) return undefined;
    try {
      return parseBreadcrumb(bytes.toString());
    } catch (error) {
      this.#world.log.warn('breadcrumb ignored', { repository: this.#world.config.fqrn, error });
      return undefined;
    }
  }

  #fetch(previousTimestamp: number | undefined): Promise<Fetched>;
  #fetch(previousTimestamp: number | undefined, unless: ContentHash): Promise<Fetched | null>;
  /** Manifest, whitelist and certificate, verified. With `unless`, null as soon as the manifest names that root catalog. */
  async #fetch(previousTimestamp: number | undefined, unless?: ContentHash): Promise<Fetched | null> {
    const { transfer, config } = this.#world;
    let refused: Failure | undefined;
    // Side by side with the manifest: one round trip less. Its failure counts only if it is needed.
    const earlyWhitelist = unless === undefined ? this.#whitelist() : null;
    earlyWhitelist?.catch(() => undefined);
    try {
      return await transfer.fetch({ path: '.cvmfspublished', maxBytes: MAX_MANIFEST_BYTES, deadlineMs: config.requestDeadlineMs }, async (body, info) => {
        const manifestBytes = await collect(body);
        try {
          const manifest = checkManifest({ source: info.server, fqrn: config.fqrn, manifest: manifestBytes, ...(previousTimestamp === undefined ? {} : { previousTimestamp }) });
          if (unless !== undefined && formatHash(unless) === formatHash(manifest.rootHash)) return null;
          return await this.#verify(manifest, manifestBytes, await (earlyWhitelist ?? this.#whitelist()), info);
        } catch (error) {
          if (!(error instanceof Failure) || !TRUST_CODES.has(error.code)) throw error;
          refused = error;
          // So that the transfer asks another server, which may have a good one.
          throw new Failure('OBJECT_CORRUPT', error.what, { cause: error });
        }
      });
    } catch (error) {
      const failure = Failure.from(error);
      if (refused !== undefined && failure.code === 'OBJECT_CORRUPT') throw refused;
      throw failure.what.startsWith('whitelist') || failure.what.startsWith('certificate') ? failure : prefixed(`manifest of ${config.fqrn}`, failure);
    }
  }

  async #whitelist(): Promise<Buffer> {
    const { transfer, config } = this.#world;
    try {
      return (await transfer.fetchBytes({ path: '.cvmfswhitelist', maxBytes: MAX_WHITELIST_BYTES, deadlineMs: config.requestDeadlineMs })).bytes;
    } catch (error) {
      throw prefixed(`whitelist of ${config.fqrn}`, Failure.from(error));
    }
  }

  async #verify(manifest: TrustedManifest, manifestBytes: Buffer, whitelist: Buffer, info: Pick<TransferInfo, 'server'>): Promise<Fetched> {
    const { store, config } = this.#world;
    const need = catalogNeed(manifest.rootHash, manifest.rootSize || null, EMPTY);
    // By its hash the catalog is only bytes; fetched side by side with the certificate, it is used once the chain holds.
    // Only a small one: nobody has signed yet for what would push everything else out of the cache.
    const early = manifest.rootSize > 0 && manifest.rootSize <= EARLY_CATALOG_BYTES_MAX ? store.ensure(need) : null;
    early?.catch(() => undefined);
    const certificate = await store.bytes(certificateNeed(manifest.certificate, config.fqrn));
    const trusted = this.#trust(manifestBytes, whitelist, certificate, info.server);
    await (early ?? store.ensure(need));
    return { trusted, keep: () => this.#remember(trusted, manifestBytes, whitelist) };
  }

  #trust(manifest: Buffer, whitelist: Buffer, certificate: Buffer, source: string): Trusted {
    const { config, now } = this.#world;
    return verifyTrust({ source, fqrn: config.fqrn, manifest, whitelist, certificate, masterKeys: config.publicKeys, blacklists: config.blacklists, now: now() });
  }

  /** The newest accepted revision, from the cache alone. */
  async #fromCache(): Promise<Trusted> {
    const { files, store, config } = this.#world;
    const manifestBytes = await files.read('manifest');
    const whitelist = await files.read('whitelist');
    if (manifestBytes === null || whitelist === null) throw new Failure('NOT_FOUND', `no manifest of ${config.fqrn} in the cache`);
    const source = 'the local cache';
    const manifest = checkManifest({ source, fqrn: config.fqrn, manifest: manifestBytes });
    const certificate = certificateNeed(manifest.certificate, config.fqrn);
    const catalog = catalogNeed(manifest.rootHash, manifest.rootSize || null, EMPTY);
    for (const need of [certificate, catalog]) if (!(await store.verifyLocal(need))) throw new Failure('NOT_FOUND', `${need.what} is not in the cache`);
    return this.#trust(manifestBytes, whitelist, await store.bytes(certificate), source);
  }

  /** The revision that the configuration fixes, or the newest. */
  async #fixed(trusted: Trusted, offline: boolean): Promise<Revision> {
    const { config, store, objectFile } = this.#world;
    const { fixed } = config;
    const newest = revisionOf(trusted, offline);
    if (fixed.kind !== 'tag' && fixed.kind !== 'date') return newest;
    const wanted = fixed.kind === 'tag' ? `tag ${fixed.name}` : `a revision as of ${new Date(fixed.unixSeconds * 1000).toISOString()}`;
    if (trusted.manifest.history === undefined) throw new Failure('NOT_FOUND', `${config.fqrn} has no tags, so no ${wanted}`);
    const need = historyNeed(trusted.manifest.history, config.fqrn);
    await store.ensure(need);
    const history = History.read(objectFile(need));
    const tag = fixed.kind === 'tag' ? history.byName(fixed.name) : history.byDate(fixed.unixSeconds);
    if (tag === undefined) {
      const names = history.tags.slice(0, HISTORY_TAG_LIST_MAX).map((one) => one.name);
      throw new Failure('NOT_FOUND', `${config.fqrn} has no ${wanted}`, { next: `its newest tags are ${names.join(', ') || 'none'}` });
    }
    return { ...newest, rootHash: tag.rootHash, rootSize: tag.rootSize || null, revision: tag.revision, publishedAt: tag.timestamp };
  }
}

function crumb(manifest: TrustedManifest): Breadcrumb {
  return { rootHash: manifest.rootHash, revision: manifest.revision, timestamp: manifest.publishedAt };
}

function revisionOf(trusted: Trusted, offline: boolean): Revision {
  const { manifest, whitelist } = trusted;
  return {
    rootHash: manifest.rootHash,
    rootSize: manifest.rootSize || null,
    revision: manifest.revision,
    publishedAt: manifest.publishedAt,
    metainfo: manifest.metainfo ?? null,
    whitelistValidUntil: whitelist.validUntil,
    offline,
  };
}

function prefixed(what: string, failure: Failure): Failure {
  return new Failure(failure.code, `${what}: ${failure.what}`, { cause: failure, data: failure.data, ...(failure.next === undefined ? {} : { next: failure.next }) });
}
