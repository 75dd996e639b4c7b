/**
 * What an agent's isolator module is told and asked: which containers live, on which directories of repositories, and what
 * to mount for them. Remembered in the state database, where Prune, completion and the holds on views look (state/isolated.ts).
 *
 * Prepare writes its row before it takes a hold or answers; Cleanup removes the row and owes the holds in one transaction;
 * Recover removes what the agent does not name. So whatever is killed in between, the next Recover or Cleanup mends it.
 */
import { abortable, within } from '../../provisioner/abort';
import type { ContainerId } from '../../provisioner/container-id';
import { containerKey } from '../../provisioner/container-id';
import type { World } from '../../provisioner/context';
import type { ContainerConfig, ContainerLaunchInfo, IsolatorRun } from '../../provisioner/grpc/generated/messages.generated';
import { Liveness } from '../../provisioner/liveness';
import type { ViewDirectory } from '../../provisioner/state/completions';
import type { IsolatedUse } from '../../provisioner/state/isolated';
import { ISOLATED_HOLDER } from '../../provisioner/state/isolated';
import { Failure } from '../../src/error';
import type { FetchedBytes } from './fetched-bytes';
import { provisionerDirectories, provisionerDirectory, viewsOf } from './image-uses';
import { KeyedQueue } from './keyed-queue';
import { CONTAINER_ROOT, launchInfo } from './launch-info';
import type { GrantedRepository } from './launch-info';
import { REQUEST_NAME, requestedRepositories } from './requested-repositories';

/** The instants between two effects, in their order; a test kills the process at each. */
export const ISOLATOR_STEPS = ['isolator-accepted', 'isolator-recorded', 'isolator-held', 'isolator-forgotten'] as const;
export type IsolatorStep = (typeof ISOLATOR_STEPS)[number];

export interface IsolationOptions {
  readonly allowedRepositories: readonly string[];
  readonly fetched: FetchedBytes;
  /** Holds are owed: tells the file system servers, in the background. */
  readonly payReleases: () => void;
  readonly step: (step: IsolatorStep) => void;
}

export interface RecoverOrder {
  readonly run: IsolatorRun;
  readonly known: readonly ContainerId[];
  /** Containers among them whose Prepare never reached us. */
  readonly unannounced: ReadonlyArray<{ readonly id: ContainerId; readonly config: ContainerConfig }>;
}

/** What a container had fetched, as far as it is known. */
export interface Use {
  readonly repository: string;
  /** In the container; empty for its image. */
  readonly path: string;
  readonly fetchedBytes: number;
  readonly sharing: number;
}

export class Isolation {
  readonly #queue = new KeyedQueue();
  /** Prepares under way: a Cleanup ends their waiting. */
  readonly #preparing = new Map<string, AbortController>();
  /** For each Recover under way, what was cleaned up since it began: it must not be remembered again. */
  readonly #endedMeanwhile = new Set<Set<string>>();
  /** What had been fetched for the repositories of a container before it began. */
  readonly #before = new Map<string, Map<string, number>>();

  constructor(
    private readonly world: World,
    private readonly options: IsolationOptions,
  ) {}

  /** At the start: no container outlives its host's boot, and an agent that has gone for good would never say so. */
  forgetEarlierBoots(): void {
    const { state, bootId } = this.world;
    this.#forget(state.isolated.all().filter((row) => row.bootId !== bootId).map(({ container }) => container));
  }

  /** Undefined: nothing to do. Failures are for the framework's user. */
  prepare(id: ContainerId, config: ContainerConfig, run: IsolatorRun, signal: AbortSignal): Promise<ContainerLaunchInfo | undefined> {
    const key = containerKey(id);
    const requested = this.#requested(config);
    return this.#queue.run(key, async () => {
      const abort = new AbortController();
      this.#preparing.set(key, abort);
      try {
        const waiting = AbortSignal.any([signal, abort.signal]);
        this.options.step('isolator-accepted');
        const granted: GrantedRepository[] = [];
        for (const fqrn of requested) granted.push(await this.#usable(fqrn, config.rootfs ?? '', waiting));
        const views = this.#viewsOf(id, config);
        await this.#checkServed(config.rootfs ?? '', views);
        await this.#remember(id, config, run, views, requested);
        return launchInfo(granted, config.rootfs ?? '');
      } finally {
        this.#preparing.delete(key);
      }
    });
  }

  isolate(id: ContainerId, pid: number): void {
    this.world.state.isolated.setPid(containerKey(id), pid);
  }

  /** False when nothing was known of it. What is nested in it has ended as well. */
  cleanup(id: ContainerId): Promise<boolean> {
    const key = containerKey(id);
    this.#preparing.get(key)?.abort(new Failure('CANCELLED', `container ${key} is being cleaned up`));
    for (const ended of this.#endedMeanwhile) ended.add(key);
    return this.#queue.run(key, async () => {
      const containers = this.world.state.isolated.within(key);
      this.#forget(containers);
      return containers.length > 0;
    });
  }

  /** Never fails because of one container. Resolves to those that were forgotten. */
  async recover({ run, known, unannounced }: RecoverOrder): Promise<string[]> {
    const { state, bootId } = this.world;
    const sequence = sequenceOf(run);
    const keep = new Set(known.map(containerKey));
    // Prepared after the module made this call: it could not name them.
    const gone = state.isolated.all().filter((row) => !keep.has(row.container) && !(row.run === run.id && row.sequence > sequence));
    this.#forget(gone.map(({ container }) => container));
    for (const { container } of state.isolated.all()) if (keep.has(container)) state.isolated.keep(container, run.id, sequence, bootId);

    const ended = new Set<string>();
    this.#endedMeanwhile.add(ended);
    try {
      await this.#rememberUnknown(known, unannounced, run, ended);
    } finally {
      this.#endedMeanwhile.delete(ended);
    }
    return gone.map(({ container }) => container);
  }

  /** Containers that were started while nobody listened, or before the module was there. */
  async #rememberUnknown(known: readonly ContainerId[], unannounced: RecoverOrder['unannounced'], run: IsolatorRun, ended: ReadonlySet<string>): Promise<void> {
    const { state, mounts, layout, logger, readMountinfo } = this.world;
    const configs = new Map(unannounced.map(({ id, config }) => [containerKey(id), config]));
    const unknown = known.filter((id) => !state.isolated.has(containerKey(id)) && !this.#preparing.has(containerKey(id)));
    if (unknown.length === 0) return;
    const mounted = provisionerDirectories(readMountinfo(), layout.containers);
    for (const id of unknown) {
      const key = containerKey(id);
      const at = mounted.get(key);
      try {
        const views = at === undefined ? [] : viewsOf(at.directory, mounts.list());
        const rootfs = configs.get(key)?.rootfs ?? at?.rootfs;
        await this.#queue.run(key, async () => {
          if (!ended.has(key)) await this.#remember(id, { ...configs.get(key), ...(rootfs === undefined ? {} : { rootfs }) }, run, views, []);
        });
      } catch (err) {
        logger.warn('it is not known what a container uses that was started without us', { container: key, err: Failure.from(err) });
      }
    }
  }

  /** Empty for a container that is not known. */
  async usesOf(id: ContainerId): Promise<Use[]> {
    const key = containerKey(id);
    const { isolated } = this.world.state;
    const seen = new Map<string, Use>();
    for (const { repository, view } of isolated.usesOf(key)) {
      const total = await this.options.fetched.total(repository);
      const before = this.#before.get(key)?.get(repository) ?? 0;
      // Its image and its mount of one repository are counted together by the one server.
      const path = view === '' ? `${CONTAINER_ROOT}/${repository}` : (seen.get(repository)?.path ?? '');
      seen.set(repository, { repository, path, fetchedBytes: Math.max(0, total - before), sharing: isolated.sharing(repository) });
    }
    return [...seen.values()];
  }

  pidOf(id: ContainerId): number | undefined {
    return this.world.state.isolated.all().find(({ container }) => container === containerKey(id))?.pid ?? undefined;
  }

  /** A process that joins its parent's namespaces sees what the parent has. */
  #requested(config: ContainerConfig): string[] {
    return config.container_class === 'DEBUG' ? [] : requestedRepositories(config, this.options.allowedRepositories);
  }

  async #usable(fqrn: string, rootfs: string, signal: AbortSignal): Promise<GrantedRepository> {
    const { mounts, helpers, limits } = this.world;
    const place = `${CONTAINER_ROOT}/${fqrn}`;
    try {
      const repository = await mounts.get(fqrn, signal);
      // Answered by the file system server: it lives.
      await abortable(repository.snapshot(), signal);
      if (rootfs !== '') await helpers.run({ kind: 'inside', target: rootfs, path: place.slice(1) }, limits.lookTimeoutMs);
      return { fqrn, mountpoint: repository.mountpoint };
    } catch (err) {
      const failure = Failure.from(err);
      throw new Failure('FAILED_PRECONDITION', `${place}, which the container asks for (${REQUEST_NAME}), cannot be had on this agent now: ${failure.what}`, {
        next: failure.next ?? 'try again, or ask the operator of the agent',
        cause: err,
      });
    }
  }

  #viewsOf(id: ContainerId, config: ContainerConfig): ViewDirectory[] {
    const { mounts, layout, readMountinfo, logger } = this.world;
    try {
      const own = config.rootfs === undefined ? undefined : provisionerDirectory(config.rootfs, id);
      const hasImageVolume = config.container_info?.volumes.some(({ image }) => image !== undefined) === true;
      // Without a root file system of its own only an image volume has one, and only the mount table knows where.
      const at = own ?? (hasImageVolume ? provisionerDirectories(readMountinfo(), layout.containers).get(containerKey(id))?.directory : undefined);
      return at === undefined || at.startsWith(`${layout.containers}/`) ? [] : viewsOf(at, mounts.list());
    } catch (err) {
      logger.warn('it is not known which images a container uses', { container: containerKey(id), err: Failure.from(err) });
      return [];
    }
  }

  /** A launch on a dead file system is refused before it fails with a riddle. */
  async #checkServed(rootfs: string, views: readonly ViewDirectory[]): Promise<void> {
    const repository = views[0]?.repository;
    if (rootfs === '' || repository === undefined || (await new Liveness(this.world).answers(rootfs, repository))) return;
    throw new Failure('FAILED_PRECONDITION', `the image of this container lies in the repository ${repository}, whose file system on this agent is dead`, { next: 'try again, or ask the operator of the agent' });
  }

  async #remember(id: ContainerId, config: Partial<ContainerConfig>, run: IsolatorRun, views: readonly ViewDirectory[], granted: readonly string[]): Promise<void> {
    const { state, mounts, limits, bootId, nowMs, newUuid } = this.world;
    const key = containerKey(id);
    if (!state.isolated.has(key) && state.isolated.count() >= limits.maxContainers) {
      throw new Failure('RESOURCE_EXHAUSTED', `${limits.maxContainers} containers are remembered for this agent already`, { next: 'see whether its isolator module reaches the service' });
    }
    const device = (fqrn: string): string => mounts.peek(fqrn)?.device ?? '';
    const reference = imageName(config) ?? 'an image';
    const earlier = state.isolated.usesOf(key);
    const holder = (repository: string, view: string, path: Buffer): string =>
      // A prepare that is repeated keeps its holds.
      earlier.find((use) => use.repository === repository && use.view === view && use.pathInView.equals(path))?.holder ?? `${ISOLATED_HOLDER}${newUuid()}`;
    const live = Buffer.from('/');
    const uses: IsolatedUse[] = [
      ...views.map((at) => ({ ...at, holder: holder(at.repository, at.view, at.pathInView), reference, device: device(at.repository) })),
      ...granted.map((repository) => ({ repository, view: '', pathInView: live, holder: holder(repository, '', live), reference: `${CONTAINER_ROOT}/${repository}`, device: device(repository) })),
    ];
    const before = new Map<string, number>();
    for (const { repository } of uses) before.set(repository, await this.options.fetched.total(repository));
    this.#before.set(key, before);
    await state.together(() =>
      state.isolated.put({ container: key, run: run.id, sequence: sequenceOf(run), bootId, rootfs: config.rootfs ?? null, pid: null, createdMs: nowMs() }, uses),
    );
    this.options.step('isolator-recorded');
    this.options.payReleases();
    for (const use of uses) if (use.view !== '') await this.#hold(use);
    this.options.step('isolator-held');
  }

  /** The launch does not depend on it: the facade holds the view too, and it is held again when its repository is mounted. */
  async #hold({ repository: fqrn, view, pathInView, holder }: IsolatedUse): Promise<void> {
    const { mounts, limits, logger } = this.world;
    try {
      const repository = mounts.peek(fqrn);
      if (repository === undefined) return;
      await within(repository.restoreView(view, pathInView), limits.holdTimeoutMs, `restoring a view of ${fqrn}`);
      await within(repository.holdView(view, holder), limits.holdTimeoutMs, `holding a view of ${fqrn}`);
    } catch (err) {
      logger.warn('the view of a container could not be held', { repository: fqrn, view, err: Failure.from(err) });
    }
  }

  #forget(containers: readonly string[]): void {
    if (containers.length === 0) return;
    this.world.state.isolated.remove(containers);
    for (const container of containers) this.#before.delete(container);
    this.options.step('isolator-forgotten');
    this.options.payReleases();
  }
}

function sequenceOf(run: IsolatorRun): number {
  return Number(run.sequence ?? '0');
}

/** The name that the container's definition gives its image. */
function imageName(config: Partial<ContainerConfig>): string | undefined {
  const container = config.task_info?.container ?? config.container_info;
  const image = container?.mesos?.image ?? container?.volumes.find((volume) => volume.image !== undefined)?.image;
  return image?.docker?.name ?? image?.cvmfs?.path;
}
