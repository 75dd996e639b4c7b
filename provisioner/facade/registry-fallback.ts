/**
 * Images that are in no repository, from the real registries in `facade.fallback_registries`, so that one agent flag
 * (`--docker_registry`) serves all images. Manifest and blobs pass through here: an agent is never sent elsewhere, and never
 * learns a token.
 *
 * Which registry: a name that says one is asked there alone, if it is in the list. A name without one is asked in the order
 * of the list, and the first that has it wins; one that cannot be asked ends the search, or a name could mean two images.
 * A name that begins with a configured repository is asked nowhere: what is missing there is missing.
 *
 * No credentials of this host: those of the requester (secret.ts), or none.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Transform } from 'node:stream';
import { LRUCache } from 'lru-cache';
import { Failure } from '../../src/error';
import { MAX_MANIFEST_BYTES } from '../../src/image/docker-manifest';
import { isDigest } from '../../src/image/facade-name';
import { MAX_CONFIG_BYTES } from '../../src/image/image-manifest';
import { pathToText } from '../../src/image/path-text';
import { HUB, HUB_NAMES, parseReference } from '../../src/image/reference';
import { readBody, RegistryConnection, statusOf } from '../../src/image/registry-connection';
import { abortFailure } from '../abort';
import type { Answer } from './answer';
import type { Fallback } from './facade';
import { MANIFEST_TYPE, sha256Digest } from './image-answer';
import type { FacadeMetrics } from './metrics';
import { Slots } from './rate';
import { ACCEPTED, safeConfig, translateManifest } from './registry-manifest';
import type { Asked } from './server';

export interface RegistryFallbackOptions {
  readonly registries: readonly string[];
  readonly configured: readonly string[];
  readonly metrics: Pick<FacadeMetrics, 'fallbackRequests' | 'fallbackBytes'>;
  /** Blobs that are handed on at a time; more wait for their turn. */
  readonly maxBlobs?: number;
  readonly maxManifests?: number;
  readonly maxBlobBytes?: number;
  /** A blob of which nothing came for so long is given up. */
  readonly stallMs?: number;
}

/** An image in a registry. */
interface Place {
  readonly registry: string;
  readonly connection: RegistryConnection;
  readonly repository: string;
}

/** Where Docker Hub answers. */
const HUB_HOST = 'registry-1.docker.io';
const WAITING_MAX = 256;
/** Blobs of manifests that were handed on: which registry has them, and which are configurations. */
const REMEMBERED_MAX = 20_000;

export class RegistryFallback implements Fallback {
  readonly #options: Required<RegistryFallbackOptions>;
  readonly #connections: ReadonlyMap<string, RegistryConnection>;
  readonly #blobs = new LRUCache<string, { readonly place: Place; readonly isConfig: boolean }>({ max: REMEMBERED_MAX });
  readonly #slots: Slots;
  readonly #manifests: Slots;

  constructor(options: RegistryFallbackOptions) {
    this.#options = { maxBlobs: 16, maxManifests: 16, maxBlobBytes: 32e9, stallMs: 30_000, ...options };
    this.#connections = new Map(
      options.registries.map((given) => {
        const registry = HUB_NAMES.includes(given.toLowerCase()) ? HUB : given.toLowerCase();
        return [registry, new RegistryConnection(registry, registry === HUB ? HUB_HOST : registry)];
      }),
    );
    this.#slots = new Slots(this.#options.maxBlobs, WAITING_MAX, 'blobs of registries');
    this.#manifests = new Slots(this.#options.maxManifests, WAITING_MAX, 'manifests of registries');
  }

  manifest(asked: Asked): Promise<Answer | undefined> {
    return this.#manifests.run(asked.signal, () => this.#manifest(asked));
  }

  async blob(asked: Asked): Promise<Answer | undefined> {
    if (!/^sha256:[0-9a-f]{64}$/.test(asked.reference)) return undefined;
    const known = this.#blobs.get(this.#key(asked, asked.reference));
    for (const place of known === undefined ? this.#places(asked) : [known.place]) {
      const answer = await this.#blob(place, asked, known?.isConfig ?? false);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  async #manifest(asked: Asked): Promise<Answer | undefined> {
    for (const place of this.#places(asked)) {
      const bytes = await this.#image(place, asked, asked.reference);
      if (bytes === undefined) continue;
      return { status: 200, headers: { 'content-type': MANIFEST_TYPE, 'docker-content-digest': sha256Digest(bytes) }, body: bytes };
    }
    return undefined;
  }

  /** Of one requester alone: what one may have with credentials is not found for another without. */
  #key({ name, credentials }: Asked, digest: string): string {
    const who = credentials === undefined ? '' : createHash('sha256').update(`${credentials.user}:${credentials.password}`).digest('hex');
    return `${name.toString('latin1')} ${digest} ${who}`;
  }

  #places({ name, reference, kind }: Asked): Place[] {
    const text = pathToText(name);
    const first = text.split('/', 1)[0]!;
    if (this.#options.configured.includes(first)) return [];
    const suffix = kind === 'blob' ? ':latest' : `${isDigest(reference) ? '@' : ':'}${reference}`;
    const says = text.includes('/') && (first === 'localhost' || /[.:]/.test(first));
    const names = says ? [`${text}${suffix}`] : [...this.#connections.keys()].map((registry) => `${registry}/${text}${suffix}`);
    return names.flatMap((one) => {
      const parsed = parseReference(one);
      const connection = parsed.kind === 'docker' ? this.#connections.get(parsed.registry) : undefined;
      return parsed.kind !== 'docker' || connection === undefined ? [] : [{ registry: parsed.registry, connection, repository: parsed.repository }];
    });
  }

  /** The manifest of one image; of a list, that of its entry for this host. */
  async #image(place: Place, asked: Asked, reference: string, inList = false): Promise<Buffer | undefined> {
    const where = `${place.registry}/${place.repository}`;
    const answer = await this.#get(place, asked, 'manifest', `manifests/${reference}`, ACCEPTED);
    if (answer === undefined) return undefined;
    const bytes = await this.#reading(where, asked, () => readBody(answer, MAX_MANIFEST_BYTES, where));
    if (isDigest(reference) && sha256Digest(bytes) !== reference) throw new Failure('OBJECT_CORRUPT', `${where}: the manifest does not have the digest ${reference}`);
    const found = translateManifest(String(answer.headers['content-type'] ?? ''), bytes, where);
    if (found.kind === 'entry') {
      if (inList) throw new Failure('FAILED_PRECONDITION', `${where}: a list of images holds a list`);
      return this.#image(place, asked, found.digest, true);
    }
    this.#blobs.set(this.#key(asked, found.config), { place, isConfig: true });
    for (const layer of found.layers) this.#blobs.set(this.#key(asked, layer), { place, isConfig: false });
    return found.body;
  }

  /** The place among those handed on at a time is kept until the last byte has gone. */
  #blob(place: Place, asked: Asked, isConfig: boolean): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      const work = async (): Promise<void> => {
        const where = `${place.registry}/${place.repository}`;
        const answer = await this.#get(place, asked, 'blob', `blobs/${asked.reference}`);
        if (answer === undefined) return resolve(undefined);
        const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': asked.reference };
        if (isConfig) return resolve({ status: 200, headers, body: safeConfig(await this.#reading(where, asked, () => readBody(answer, MAX_CONFIG_BYTES, where)), where) });
        const length = Number(answer.headers['content-length'] ?? Number.NaN);
        if (!Number.isSafeInteger(length) || length < 0 || length > this.#options.maxBlobBytes) {
          answer.destroy();
          throw new Failure('OBJECT_TOO_BIG', `${where}: a blob of ${Number.isNaN(length) ? 'unknown length' : `${length} bytes`} is not handed on`);
        }
        const body = this.#counted(place.registry, answer);
        const gone = new Promise<void>((done) => body.once('close', done));
        resolve({ status: 200, headers: { ...headers, 'content-length': String(length) }, body });
        await gone;
      };
      this.#slots.run(asked.signal, work).catch(reject);
    });
  }

  #counted(registry: string, answer: IncomingMessage): Transform {
    const { metrics, stallMs } = this.#options;
    const body = new Transform({
      transform(piece: Buffer, _encoding, next) {
        metrics.fallbackBytes.add(piece.length, { registry });
        timer.refresh();
        next(null, piece);
      },
    });
    const timer = setTimeout(() => body.destroy(new Failure('NETWORK', `${registry}: a blob does not come any further`)), stallMs).unref();
    answer.once('error', (err) => body.destroy(err));
    answer.once('aborted', () => body.destroy(new Failure('NETWORK', `${registry}: a blob broke off`)));
    body.once('close', () => {
      clearTimeout(timer);
      answer.destroy();
    });
    answer.pipe(body);
    return body;
  }

  /** Undefined when the registry does not have it, or does not show it to this requester. */
  async #get({ registry, connection, repository }: Place, asked: Asked, kind: string, path: string, accept?: string): Promise<IncomingMessage | undefined> {
    const where = `${registry}/${repository}`;
    const url = connection.url(`/v2/${repository}/${path}`);
    const { credentials, signal } = asked;
    const answer = await this.#reading(where, asked, () => connection.get(url, { repository, signal, ...(accept === undefined ? {} : { accept }), ...(credentials === undefined ? {} : { credentials }) }));
    const status = statusOf(answer);
    this.#options.metrics.fallbackRequests.inc({ registry, kind, status: String(status) });
    if (status === 200) return answer;
    answer.destroy();
    if ([401, 403, 404].includes(status)) return undefined;
    if (status === 429) throw new Failure('RESOURCE_EXHAUSTED', `${where}: the registry wants fewer requests`, { next: 'try again later' });
    throw new Failure(status >= 500 ? 'NETWORK' : 'FAILED_PRECONDITION', `${where}: the registry answered with status ${status}`);
  }

  async #reading<T>(where: string, { signal }: Asked, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      if (err instanceof Failure) throw err;
      if (signal.aborted) throw abortFailure(signal);
      throw new Failure('NETWORK', `${where}: ${(err as Error).message}`, { cause: err });
    }
  }
}
