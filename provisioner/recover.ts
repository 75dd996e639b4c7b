/**
 * Recover: the agent says which containers it knows (spec 1.5, 7.5). That is authoritative: everything else is garbage and
 * is removed. What is known is verified and left exactly as it is; after a reboot, when no mount is left, it is built
 * again. One container in trouble is set aside with the reason and never stops the others, nor fails the call: a failed
 * recovery keeps the whole agent down.
 */
import { Failure } from '../src/error';
import { abortable, eachOf, throwIfAborted, within } from './abort';
import { listContainerDirectories } from './container-directories';
import type { ContainerId } from './container-id';
import { containerIdFromKey, containerKey, isWithin } from './container-id';
import type { World } from './context';
import type { Destroy } from './destroy';
import type { Dismantler } from './dismantle';
import type { Flights } from './flights';
import { Liveness } from './liveness';
import { isBelow } from '../src/native/mountinfo';
import type { MountEntry } from '../src/native/mountinfo';
import type { RwLock } from './rwlock';
import type { RootfsRecord } from './state/rootfs-record';

export interface SetAside {
  /** Root container first; of a record that makes no sense, what it says. */
  readonly container: readonly string[];
  readonly reason: string;
}

export interface Recovered {
  readonly destroyed: ContainerId[];
  readonly quarantined: SetAside[];
}

function lineage(id: ContainerId): string[] {
  return id.map((_, index) => containerKey(id.slice(0, index + 1)));
}

function tryContainerId(key: string): ContainerId | undefined {
  try {
    return containerIdFromKey(key);
  } catch {
    return undefined;
  }
}

export class Recover {
  constructor(
    private readonly world: World,
    private readonly lock: RwLock,
    private readonly flights: Flights<unknown>,
    private readonly dismantler: Dismantler,
    private readonly destroy: Destroy,
  ) {}

  async run(known: readonly ContainerId[], signal: AbortSignal): Promise<Recovered> {
    const { layout, logger } = this.world;
    // A container is kept with all that it is nested in, even if the agent does not name those.
    const keep = new Set(known.flatMap(lineage));
    const recovered: Recovered = { destroyed: [], quarantined: [] };
    const found = this.world.state.all();
    const directories = listContainerDirectories(layout);
    for (const stray of directories.strays) logger.warn('not a container of ours, left alone', { path: stray });

    const present = new Map<string, ContainerId>();
    for (const id of [...found.records.map(({ container }) => container), ...directories.containers]) present.set(containerKey(id), id);
    for (const key of [...this.flights.containers(), ...found.bad.map(({ container }) => container)]) {
      const id = tryContainerId(key);
      if (id !== undefined) present.set(key, id);
    }
    await this.#destroyUnknown(present, keep, recovered);

    for (const bad of found.bad) {
      const id = tryContainerId(bad.container);
      if (id === undefined || keep.has(bad.container)) recovered.quarantined.push({ container: id ?? [bad.container], reason: `${bad.reason}; nothing of it was touched` });
    }
    await this.#verifyKnown(found.records.filter(({ container }) => keep.has(containerKey(container))), recovered, signal);
    this.#reportUnrecorded(directories.containers.filter((id) => keep.has(containerKey(id))), recovered);
    await this.lock.write(() => this.#sweepOrphans(keep));
    return recovered;
  }

  async #destroyUnknown(present: ReadonlyMap<string, ContainerId>, keep: ReadonlySet<string>, recovered: Recovered): Promise<void> {
    const { logger, metrics, limits } = this.world;
    const unknown = [...present].filter(([key]) => !keep.has(key));
    // Outermost only: what is nested in it goes with it.
    const outermost = unknown.filter(([key]) => !unknown.some(([other]) => other !== key && isWithin(key, other)));
    await eachOf(outermost, limits.recoverParallel, async ([key, id]) => {
      const gone = unknown.filter(([other]) => isWithin(other, key)).map(([, one]) => one);
      try {
        await this.destroy.run(id);
        recovered.destroyed.push(...gone);
        metrics.recovered.add(gone.length, { result: 'destroyed' });
      } catch (err) {
        const failure = Failure.from(err);
        logger.warn('an unknown container could not be destroyed and is tried again', { container: key, err: failure });
        recovered.quarantined.push({ container: id, reason: `it is unknown to the agent and could not be removed yet: ${failure.message}` });
        metrics.recovered.inc({ result: 'busy' });
      }
    });
  }

  async #verifyKnown(records: readonly RootfsRecord[], recovered: Recovered, signal: AbortSignal): Promise<void> {
    const { metrics, logger, limits, state } = this.world;
    const table = this.#table();
    const liveness = new Liveness(this.world);
    await eachOf(records, limits.recoverParallel, async (record) => {
      try {
        metrics.recovered.inc({ result: await this.#verify(record, table, liveness, signal) });
      } catch (err) {
        const reason = Failure.from(err).message;
        logger.warn('a known container is set aside', { container: containerKey(record.container), rootfs: record.uuid, reason });
        recovered.quarantined.push({ container: record.container, reason });
        metrics.recovered.inc({ result: 'quarantined' });
        const { kind } = record.state;
        // The boot id stays the old one, so that a later Recover tries to build it again.
        if (kind === 'mounted' || kind === 'quarantined') state.move(record, { kind: 'quarantined', bootId: record.state.bootId, reason });
      }
    });
  }

  /** Top-most mount by mount point. */
  #table(): Map<string, MountEntry> {
    return new Map(this.world.readMountinfo().map((entry) => [entry.mountpoint.toString(), entry]));
  }

  async #verify(record: RootfsRecord, table: ReadonlyMap<string, MountEntry>, liveness: Liveness, signal: AbortSignal): Promise<'kept' | 'rebuilt' | 'in-progress'> {
    const { state, layout, bootId } = this.world;
    // Made or taken down at this moment by another call, which will say how it ended.
    if (record.state.kind === 'intended' || record.state.kind === 'destroying') return 'in-progress';
    const rootfs = layout.rootfs(record.container, record.backend, record.uuid);
    const mount = table.get(rootfs);
    if (mount !== undefined) {
      if (!this.#isOurs(mount, record)) throw new Failure('FAILED_PRECONDITION', `something else (${mount.type}) is mounted on rootfs ${record.uuid}; destroy the container`);
      if (!(await liveness.answers(rootfs, record.image.repository))) {
        throw new Failure('FAILED_PRECONDITION', `the file system under rootfs ${record.uuid} is dead: all processes that held the mount of ${record.image.repository} had ended at once; destroy the container`);
      }
      if (record.state.kind === 'quarantined' || record.state.bootId !== bootId) state.move(record, { kind: 'mounted', bootId });
      return 'kept';
    }
    if (record.state.bootId === bootId) throw new Failure('FAILED_PRECONDITION', `the mount of rootfs ${record.uuid} is gone; destroy the container`);
    await this.#rebuild(record, signal);
    return 'rebuilt';
  }

  #isOurs(mount: MountEntry, record: RootfsRecord): boolean {
    return record.backend === 'overlay' ? mount.type === 'overlay' && mount.superOptions.includes(record.uuid) : mount.type !== 'overlay' && mount.options.includes('ro');
  }

  /** After a reboot: the same view, the same writable directory, a new mount. Only the view may need the network, and no lock is held for it. */
  async #rebuild(record: RootfsRecord, signal: AbortSignal): Promise<void> {
    const { mounts, state, backends, limits, inodeBits, bootId } = this.world;
    const { image } = record;
    const repository = await mounts.get(image.repository, signal);
    const view = await abortable(repository.restoreView(image.view, image.pathInView), signal);
    await this.lock.read(async () => {
      throwIfAborted(signal);
      await within(repository.holdView(image.view, record.uuid), limits.holdTimeoutMs, `holding a view of ${image.repository}`);
      const backend = backends[record.backend];
      await backend.makeDirectories(record);
      const source = { mountpoint: repository.mountpoint, device: repository.device, pathInMount: view.pathInMount };
      await backend.mount(record, source, { inodeBits: inodeBits(image.repository) });
      state.move(record, { kind: 'mounted', bootId });
    });
  }

  /** A known container whose directory no row explains, for example because the database was moved away: it may run, so it is left. */
  #reportUnrecorded(known: readonly ContainerId[], recovered: Recovered): void {
    const { state, layout } = this.world;
    for (const id of known) {
      const { records, bad } = state.within(containerKey(id));
      if (records.length + bad.length > 0) continue;
      recovered.quarantined.push({ container: id, reason: `no record of it is in the state database; ${layout.container(id)} was left as it is; destroy the container when it has ended` });
    }
  }

  /** Under the write lock, so that no mount of a provision is taken for an orphan: it has its row before its mount. */
  async #sweepOrphans(keep: ReadonlySet<string>): Promise<void> {
    const { layout, state, logger, helpers, limits, readMountinfo } = this.world;
    const rows = state.all();
    const owned = new Set([...rows.records.flatMap(({ container }) => lineage(container)), ...rows.bad.map(({ container }) => container), ...keep]);
    const orphaned = listContainerDirectories(layout).containers.filter((id) => !owned.has(containerKey(id)));
    const outermost = orphaned.filter((id) => !orphaned.some((other) => other !== id && isWithin(containerKey(id), containerKey(other))));
    for (const id of outermost) {
      await this.dismantler.sweep(layout.container(id)).catch((err: unknown) => logger.warn('a directory without a record could not be removed', { path: layout.container(id), err }));
    }
    const roots = [...owned].filter((key) => !key.includes('/')).map((key) => layout.container([key]));
    const orphans = readMountinfo().filter(({ mountpoint }) => isBelow(mountpoint, layout.containers) && mountpoint.length > layout.containers.length && !roots.some((root) => isBelow(mountpoint, root)));
    for (const { mountpoint } of orphans.sort((a, b) => b.mountpoint.length - a.mountpoint.length)) {
      await helpers.run({ kind: 'unmount', target: mountpoint }, limits.mountTimeoutMs).catch((err: unknown) => logger.warn('an orphaned mount could not be removed', { mountpoint: mountpoint.toString(), err }));
    }
  }
}
