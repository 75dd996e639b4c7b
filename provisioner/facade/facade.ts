/**
 * The registry facade: an unpatched agent asks for an image as if it were in a docker registry, and finds it already
 * unpacked in its store, as a link to a lazy tree (docs/facade.md).
 *
 * On a manifest request: name → image → mounted repository → pinned view → link in the store, checked → answer. What a name
 * stands for is asked anew each time, since tags move; everything after it is already there for an image that is linked, and
 * touches no disk.
 */
import { Failure } from '../../src/error';
import { candidatesOf, firstCandidate } from '../../src/image/facade-name';
import type { MountedRepository } from '../../src/repository/reader';
import { abortable, throwIfAborted } from '../abort';
import type { FoundImage, Images } from '../images';
import type { Mounts } from '../mounts';
import type { StartProfiles } from '../start-profiles';
import type { Answer } from './answer';
import { errorAnswer } from './answer';
import { manifestObject, MANIFEST_TYPE, sha256Digest } from './image-answer';
import type { Links } from './links';
import type { FacadeMetrics } from './metrics';
import { Slots } from './rate';
import type { Asked } from './server';

export interface FacadeOptions {
  readonly images: Images;
  readonly mounts: Mounts;
  readonly configured: readonly string[];
  readonly links: Links;
  readonly profiles: Pick<StartProfiles, 'begin'>;
  readonly maxResolves: number;
  readonly metrics: FacadeMetrics;
  /** Manifests and blobs of real registries, where they may be asked. */
  readonly fallback?: Fallback;
}

export interface Fallback {
  /** Undefined: no registry may be asked for that name, or none has it. */
  manifest(asked: Asked): Promise<Answer | undefined>;
  blob(asked: Asked): Promise<Answer | undefined>;
}

/** Requests that may wait for one of `max_resolves`, for each repository. */
const WAITING_MAX = 1024;

export class Facade {
  /** By the repository that a name says, or none: one that is not mounted keeps only its own images waiting. */
  readonly #slots: ReadonlyMap<string, Slots>;

  constructor(private readonly options: FacadeOptions) {
    this.#slots = new Map([...options.configured, ''].map((repository) => [repository, new Slots(options.maxResolves, WAITING_MAX, 'images that are being resolved')]));
  }

  async answer(asked: Asked): Promise<{ answer: Answer; kind: string }> {
    return asked.kind === 'manifest' ? { answer: await this.#manifest(asked), kind: 'manifest' } : this.#blob(asked);
  }

  async #manifest(asked: Asked): Promise<Answer> {
    const first = asked.name.toString('latin1').split('/', 1)[0]!;
    const slots = this.#slots.get(first) ?? this.#slots.get('')!;
    const found = await slots.run(asked.signal, async () => {
      try {
        return await this.#find(asked);
      } catch (err) {
        if (Failure.from(err).code !== 'NOT_FOUND' || this.options.fallback === undefined) throw err;
        return Failure.from(err);
      }
    });
    if (found instanceof Failure) {
      const real = await this.options.fallback!.manifest(asked);
      if (real === undefined) throw found;
      return real;
    }
    return found;
  }

  async #find(asked: Asked): Promise<Answer> {
    const { mounts, links, profiles } = this.options;
    const found = await this.#resolve(asked);
    for (const warning of found.warnings) asked.logger.debug('resolving an image', { image: found.reference, warning });
    const repository = await mounts.get(found.repository, asked.soon);
    try {
      const view = await abortable(repository.makeView(found.snapshot, found.path), asked.signal);
      profiles.begin(found, repository, view);
      throwIfAborted(asked.signal);
      // Not given up any more: whoever asks again finds it done.
      const link = await abortable(links.provide(found, repository, view), asked.signal);
      return this.#answerFor(link);
    } catch (err) {
      this.#doubt(err, repository);
      throw err;
    }
  }

  #resolve(asked: Asked): Promise<FoundImage> {
    const { images, configured } = this.options;
    return firstCandidate(candidatesOf(asked, configured), ({ image, onlyIn }) => abortable(images.resolve({ type: 'DOCKER', docker: { name: image } }, asked.soon, onlyIn), asked.signal));
  }

  #answerFor(link: { readonly digest: string; readonly config: Buffer }): Answer {
    const body = manifestObject({ digest: sha256Digest(link.config), size: link.config.length }, link.digest);
    return { status: 200, headers: { 'content-type': MANIFEST_TYPE, 'docker-content-digest': sha256Digest(body) }, body };
  }

  async #blob(asked: Asked): Promise<{ answer: Answer; kind: string }> {
    const { links, fallback } = this.options;
    const config = links.config(asked.reference);
    if (config !== undefined) return { answer: { status: 200, headers: { 'content-type': 'application/octet-stream', 'docker-content-digest': asked.reference }, body: config }, kind: 'config' };
    const link = links.get(asked.reference);
    if (link !== undefined) return { answer: this.#refuseLayer(asked, link.reference), kind: 'layer' };
    const real = await fallback?.blob(asked);
    if (real !== undefined) return { answer: real, kind: 'blob' };
    throw new Failure('NOT_FOUND', `${asked.reference} is no configuration of an image that is linked here`, { next: 'start the container again' });
  }

  /**
   * A layer of ours has no bytes. An agent asks for them when it does not see our link: it works with another store, with
   * another backend than overlay, or has pruned the link in this instant. An empty layer in answer would start the
   * container on an empty root, so this fails, with a status that nothing else has.
   */
  #refuseLayer({ logger }: Asked, image: string): Answer {
    const why = 'the agent does not see the link that was made in its store';
    logger.warn(`an agent asks for the bytes of a lazy image: ${why}`, { image, store: this.options.links.store.layers });
    return errorAnswer(409, 'BLOB_UNKNOWN', `${why}; its --docker_store_dir must be facade.docker_store_dir and its --image_provisioner_backend overlay (docs/facade.md); after a prune, start the container again`);
  }

  /** After these the repository's mount may not be what it was. */
  #doubt(err: unknown, repository: MountedRepository): void {
    if (['NETWORK', 'SYSTEM', 'FAILED_PRECONDITION', 'DEADLINE_EXCEEDED'].includes(Failure.from(err).code)) this.options.mounts.recheck(repository.fqrn);
  }
}
