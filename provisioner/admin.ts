/** What operators ask for beyond the agent's operations: which images are kept, and what is not as it should be. */
import { Failure } from '../src/error';
import { abortable } from './abort';
import type { World } from './context';
import type { Image } from './grpc/generated/messages.generated';
import type { FoundImage } from './images';
import type { ImageRecord } from './state/state';
import { IMAGE_HOLDER, pinName } from './state/state';

export interface Fetched {
  readonly image: FoundImage;
  readonly objects: number;
  readonly bytes: number;
}

export class Admin {
  constructor(
    private readonly world: World,
    /** Holds were given up: the file system servers are to be told. */
    private readonly releasing: () => void,
  ) {}

  resolve(image: Image, signal: AbortSignal): Promise<FoundImage> {
    return abortable(this.world.images.resolve(image, signal), signal);
  }

  /** Fetches all of an image; with `pin` it is kept until `unpin`, else as long as the cache has room. */
  async fetch(image: Image, pin: boolean, signal: AbortSignal): Promise<Fetched> {
    const { mounts, state, nowMs, newUuid } = this.world;
    const found = await this.resolve(image, signal);
    const repository = await mounts.get(found.repository, signal);
    const { view, pathInView } = await abortable(repository.makeView(found.snapshot, found.path), signal);
    if (!pin) return { image: found, ...(await abortable(repository.prefetch(view, pathInView), signal)) };
    const { reference, digest, path, snapshot } = found;
    const record = state.rememberImage({ reference, repository: found.repository, path, view, pathInView, rootHash: snapshot.rootHash, revision: snapshot.revision, digest }, `${IMAGE_HOLDER}${newUuid()}`, nowMs());
    // Before the fetch: a prune in the middle of it must not let go what has come.
    state.pinImage(digest, nowMs());
    await abortable(repository.holdView(view, record.holder), signal);
    return { image: found, ...(await abortable(repository.prefetch(view, pathInView, { pin: pinName(record.holder) }), signal)) };
  }

  pinned(): ImageRecord[] {
    return this.world.state.images().filter(({ pinnedMs }) => pinnedMs !== null);
  }

  /** False when it was not pinned. Containers that use the image keep their own hold on it. */
  unpin(digest: string): boolean {
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(digest.slice(0, 80))} is not an image digest`, { next: 'give one of those that ps shows' });
    const { state } = this.world;
    const pinned = this.pinned().filter((image) => image.digest === digest);
    state.transaction(() => pinned.forEach((image) => state.removeImage(image)));
    this.releasing();
    return pinned.length > 0;
  }

  /** A sentence each; the service adds its own. */
  warnings(): string[] {
    const { state, mounts } = this.world;
    const { records, bad } = state.all();
    return [
      ...mounts.list().flatMap((mount) => (mount.state.kind === 'failed' ? [`repository ${mount.repository} is not mounted: ${mount.state.failure.message}`] : [])),
      ...records.flatMap((record) => (record.state.kind === 'quarantined' ? [`container ${record.container.join('/')} is set aside: ${record.state.reason}`] : [])),
      ...bad.map((row) => `container ${row.container}, rootfs ${row.uuid}: ${row.reason}`),
    ];
  }
}
