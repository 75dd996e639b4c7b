/**
 * Provision: image in, root file system out (spec 1.3). The order is what makes a crash harmless: nothing lasting is done
 * before its row is on disk, and the row says `mounted` only when everything is there.
 *
 * Two phases. Up to the view everything may need the network, holds no lock and can be abandoned at any instant. From
 * the row on nothing waits for the network: holds, directories and the mount have deadlines of their own, and a destroy
 * waits for them.
 */
import type { Code } from '../src/error';
import { Failure } from '../src/error';
import type { MountedRepository, ViewPath } from '../src/repository/reader';
import { abortable, throwIfAborted, within } from './abort';
import type { ContainerId } from './container-id';
import { containerKey } from './container-id';
import type { World } from './context';
import type { Dismantler } from './dismantle';
import type { Image } from './grpc/generated/messages.generated';
import type { FoundImage } from './images';
import type { BackendName } from './layout';
import type { Releases } from './releases';
import type { StartProfiles } from './start-profiles';
import type { RwLock } from './rwlock';
import type { ImageRecord } from './state/state';
import { IMAGE_HOLDER } from './state/state';
import type { RootfsRecord } from './state/rootfs-record';

export interface ProvisionAsk {
  readonly container: ContainerId;
  readonly image: Image;
  readonly backend: BackendName;
  readonly request?: { readonly key: string; readonly fingerprint: string };
}

/** How often prunes may come between view and row before the caller is sent away. */
const MAX_PRUNES_MET = 5;

/** After these the repository's mount may not be what it was, so it is looked at. */
const MOUNT_IN_DOUBT: readonly Code[] = ['NETWORK', 'SYSTEM', 'FAILED_PRECONDITION', 'DEADLINE_EXCEEDED'];

/** Waits for both to end, also when one has failed: what is undone afterwards must not be under way any more. */
async function both(...works: [Promise<void>, Promise<void>]): Promise<void> {
  for (const result of await Promise.allSettled(works)) if (result.status === 'rejected') throw result.reason;
}

export class Provision {
  constructor(
    private readonly world: World,
    private readonly lock: RwLock,
    private readonly dismantler: Dismantler,
    private readonly releases: Releases,
    /** How many prunes have been: a view made before one may have lost its catalogs. */
    private readonly prunes: () => number,
    private readonly profiles: Pick<StartProfiles, 'begin'>,
  ) {}

  async run(ask: ProvisionAsk, signal: AbortSignal): Promise<RootfsRecord> {
    const { images, mounts, step } = this.world;
    step('provision-accepted');
    const found = await abortable(images.resolve(ask.image, signal), signal);
    step('provision-resolved');
    const repository = await mounts.get(found.repository, signal);
    try {
      return await this.#mount(ask, found, repository, signal);
    } catch (err) {
      if (MOUNT_IN_DOUBT.includes(Failure.from(err).code)) mounts.recheck(found.repository);
      throw err;
    }
  }

  async #mount(ask: ProvisionAsk, found: FoundImage, repository: MountedRepository, signal: AbortSignal): Promise<RootfsRecord> {
    const { backends, step } = this.world;
    await abortable(backends[ask.backend].check(repository, found.snapshot, found.path), signal);
    for (let attempt = 0; attempt < MAX_PRUNES_MET; attempt++) {
      const before = this.prunes();
      const view = await abortable(repository.makeView(found.snapshot, found.path), signal);
      step('provision-view-made');
      this.profiles.begin(found, repository, view);
      const made = await this.lock.read(async () => (this.prunes() === before ? this.#build(ask, found, repository, view, signal) : undefined));
      if (made !== undefined) return made;
    }
    throw new Failure('RESOURCE_EXHAUSTED', 'images are being pruned again and again', { next: 'try again later' });
  }

  async #build(ask: ProvisionAsk, found: FoundImage, repository: MountedRepository, view: ViewPath, signal: AbortSignal): Promise<RootfsRecord> {
    const { state, backends, inodeBits, limits, nowMs, newUuid, bootId, step } = this.world;
    const intended = {
      uuid: newUuid(),
      container: ask.container,
      backend: ask.backend,
      state: { kind: 'intended' },
      image: {
        reference: found.reference,
        repository: found.repository,
        path: found.path,
        view: view.view,
        pathInView: view.pathInView,
        rootHash: found.snapshot.rootHash,
        revision: found.snapshot.revision,
        digest: found.digest,
      },
      manifest: found.manifest,
      ...(ask.request === undefined ? {} : { request: ask.request }),
      createdMs: nowMs(),
    } satisfies RootfsRecord;
    const image = await state.together(() => {
      throwIfAborted(signal);
      this.#room(ask.container);
      return state.intend(intended, `${IMAGE_HOLDER}${newUuid()}`);
    });
    step('provision-intent-recorded');
    try {
      const backend = backends[ask.backend];
      await both(
        this.#hold(repository, image, intended.uuid).then(() => step('provision-view-held')),
        backend.makeDirectories(intended).then(() => step('provision-directories-made')),
      );
      const source = { mountpoint: repository.mountpoint, device: repository.device, pathInMount: view.pathInMount };
      await backend.mount(intended, source, { inodeBits: inodeBits(found.repository) });
      step('provision-mounted');
      const mounted = await state.together(() => {
        // Nobody waits any longer and nobody will ask for it: a caller that gave up must not leave a rootfs behind.
        throwIfAborted(signal);
        return state.move(intended, { kind: 'mounted', bootId });
      });
      step('provision-recorded');
      this.#forgetOldImages(limits.maxUnusedImages);
      return mounted;
    } catch (err) {
      await this.#undo(intended);
      throw err;
    }
  }

  async #hold(repository: MountedRepository, image: ImageRecord, uuid: string): Promise<void> {
    const holds = Promise.all([repository.holdView(image.view, uuid), repository.holdView(image.view, image.holder)]);
    await within(holds, this.world.limits.holdTimeoutMs, `holding a view of ${repository.fqrn}`);
  }

  #room(container: ContainerId): void {
    const { state, limits } = this.world;
    const key = containerKey(container);
    const own = state.rootfsesOf(key);
    if (own >= limits.maxRootfsesPerContainer) {
      throw new Failure('RESOURCE_EXHAUSTED', `container ${key} has ${own} root file systems already, the limit is ${limits.maxRootfsesPerContainer}`, { next: 'destroy the container' });
    }
    if (own === 0 && state.counts().containers >= limits.maxContainers) {
      throw new Failure('RESOURCE_EXHAUSTED', `${limits.maxContainers} containers have root file systems already`, { next: 'destroy those that are not needed' });
    }
  }

  async #undo(record: RootfsRecord): Promise<void> {
    const { state, logger, metrics } = this.world;
    try {
      await this.dismantler.dismantle(state.move(record, { kind: 'destroying' }));
    } catch (err) {
      metrics.removalFailures.inc();
      logger.warn('a half-made rootfs could not be removed and is tried again', { rootfs: record.uuid, err });
    }
  }

  #forgetOldImages(keep: number): void {
    const { state } = this.world;
    if (state.imageCount() <= keep) return;
    const images = state.images();
    const used = state.usedDigests();
    const unused = images.filter(({ digest, pinnedMs }) => pinnedMs === null && !used.has(digest));
    if (unused.length <= keep) return;
    for (const image of unused.slice(0, unused.length - keep)) state.removeImage(image);
    this.releases.kick();
  }
}
