/**
 * PruneImages: lets go of every image that no rootfs uses, nobody pinned and the caller did not exclude, then frees what
 * the cache held for them alone. Runs alone (spec 1.6), and touches no network.
 */
import { within } from './abort';
import type { World } from './context';
import type { Image } from './grpc/generated/messages.generated';
import type { Releases } from './releases';
import type { RwLock } from './rwlock';

export interface Pruned {
  readonly freedBytes: number;
  readonly images: number;
}

/** For all file system servers together to hear which views are not held any more. */
const RELEASE_TIMEOUT_MS = 30_000;

/** Lets go of what somebody else holds of images, those named kept; returns how many. */
export type PruneToo = (kept: ReadonlySet<string>) => Promise<number>;

export class Prune {
  #count = 0;
  #too: PruneToo = () => Promise.resolve(0);

  constructor(
    private readonly world: World,
    private readonly lock: RwLock,
    private readonly releases: Releases,
  ) {}

  get count(): number {
    return this.#count;
  }

  /** Called with each prune, before the cache is freed. */
  with(too: PruneToo): void {
    this.#too = too;
  }

  async run(excluded: readonly Image[]): Promise<Pruned> {
    const { state, images, freeCache, logger, metrics } = this.world;
    const kept = new Set(excluded.flatMap((image) => images.references(image)));
    return this.lock.write(async () => {
      this.#count++;
      const used = state.usedDigests();
      const unused = state.images().filter(({ digest, reference, pinnedMs }) => pinnedMs === null && !used.has(digest) && !kept.has(reference));
      state.transaction(() => unused.forEach((image) => state.removeImage(image)));
      const more = await this.#too(kept);
      // What cannot be told now is told later, and freed by the next prune.
      await within(this.releases.drain(), RELEASE_TIMEOUT_MS, 'releasing the views of pruned images').catch((err: unknown) => logger.warn('not all views were released', { err }));
      const freedBytes = await freeCache(unused);
      metrics.prunedBytes.add(freedBytes);
      metrics.prunedImages.add(unused.length + more);
      return { freedBytes, images: unused.length + more };
    });
  }
}
