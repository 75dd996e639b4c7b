/**
 * The keeper: one per host and `run_dir`. It opens /dev/fuse, mounts, answers INIT, holds every descriptor, starts file
 * system servers and starts them again, and does what needs privilege. It makes no file call below its own mounts, and
 * unmounts only when told to.
 *
 * Control socket `<run_dir>/keeper.sock`:
 *
 *     mount   {mountpoint, config, serverUid, serverGid}   → MountInfo
 *     unmount {mountpoint, lazy}                           → {}
 *     upgrade {version, node, dir, timeoutMs}              → {}, begun: `upgrade` of list says how far it is
 *     list    {}                                           → {keeperPid, sparePid, stored, keeperVersion, spareVersion, mounts: MountInfo[], dead: […], warnings, upgrade}
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../error';
import { VERSION } from '../../version';
import { checkRepositoryConfig } from '../../config/repository-config';
import { readMountinfo } from '../../native/mountinfo';
import { libc, LOCK_EX, LOCK_NB } from '../../native/libc';
import type { DescriptorSocket } from '../../native/descriptor-socket';
import { listenControl } from '../control/control-server';
import type { ControlServer } from '../control/control-server';
import { isAlive } from '../process-identity';
import { copyDescriptor, findServer } from './adoption';
import { killProcess } from './kill-process';
import { stopEarlierSpares } from './earlier-spares';
import { KeptMount, takeBack } from './kept-mount';
import type { Ending, KeeperWorld, Unserved } from './kept-mount';
import { NativeMount } from '../native-driver/native-mount';
import { makeKeeperDirs, mountDir, removeMountDir } from './mount-dir';
import { readRecords, removeRecord } from './mount-record';
import type { MountRecord } from './mount-record';
import { FUSE_TYPE } from './own-mounts';
import { Pings } from './pings';
import { checkProgram, ownProgram } from './program';
import type { Program } from './program';
import { Spare } from './spare';
import type { StandbyProcess } from './server-process';
import { unmountPath } from './unmount-path';
import { upgradeServers } from './upgrade';
import type { UpgradeState } from './upgrade';

/** The keeper ends this long after its last mount has gone. */
const IDLE_MS = 10_000;
const MOUNTS_MAX = 4_096;
/** Set to 1 in the environment of a keeper, it mounts as on a kernel that does not repeat requests. For tests. */
export const FORCE_CLONES = 'MESOS_CVMFS_FORCE_CLONES';
/** Before it makes room for its successor it waits this long for what it is doing. */
const SETTLE_MS = 10_000;
const SETTLE_POLL_MS = 20;
/** A keeper this young does not make room for a successor by itself: files that do not fit together would never end that. */
const FOREIGN_AFTER_MS = 5_000;
const UPGRADE_TIMEOUT_MAX_MS = 600_000;

/** One mount as the keeper's clients see it. */
export interface MountInfo {
  readonly id: string;
  readonly repository: string;
  readonly mountpoint: string;
  /** `major:minor` as mountinfo prints it. */
  readonly device: string;
  /** The server's own folder, with its control socket. */
  readonly dir: string;
  readonly serverPid: number | null;
  /** Set while nobody serves it. */
  readonly unserved: Unserved | null;
  /** What the death of its server means to readers: `waits` no error, `fails` requests in hand fail, `ends` the mount ends. */
  readonly serverDeath: 'waits' | 'fails' | 'ends';
  /** Version of the server's program; null while there is no server, or it does not say. */
  readonly serverVersion: string | null;
  /** False for a mount whose server cannot be replaced while it is mounted (the fuse-native driver). */
  readonly replaceable: boolean;
  readonly inodeBits: number;
  readonly cacheDir: string;
}

/** A mount that neither a keeper nor a server holds any more: the kernel answers ENOTCONN for it. */
export interface DeadMount {
  readonly repository: string;
  readonly mountpoint: string;
  readonly reason: string;
}

export interface KeeperList {
  readonly keeperPid: number;
  readonly keeperVersion: string;
  /** Version of the warm spare's program; null while none is ready. */
  readonly spareVersion: string | null;
  /** The warm spare; null while none is ready. */
  readonly sparePid: number | null;
  /** A service manager keeps a copy of every descriptor. */
  readonly stored: boolean;
  readonly mounts: readonly MountInfo[];
  readonly dead: readonly DeadMount[];
  /** Records that this keeper does not understand, and so leaves alone, each with its file. */
  readonly warnings: readonly string[];
  /** The upgrade that is under way, or the last one that this keeper made. */
  readonly upgrade: UpgradeState | null;
}

/** Why a keeper ended: for want of mounts, or to make room for a successor of this program. */
export type KeeperEnd = { readonly successor: null } | { readonly successor: Program; readonly descriptors: readonly number[] };

const upgradeParams = z.strictObject({
  version: z.string().min(1).max(64),
  node: z.string().max(4096).startsWith('/'),
  dir: z.string().max(4096).startsWith('/'),
  timeoutMs: z.number().int().min(1).max(UPGRADE_TIMEOUT_MAX_MS),
});

const mountParams = z.strictObject({
  mountpoint: z.string().max(4096).regex(/^(\/[^/\0]+)+$/, 'an absolute path without //, or a slash at its end'),
  config: z.unknown(),
  serverUid: z.number().int().min(0).max(0xfffffffe),
  serverGid: z.number().int().min(0).max(0xfffffffe),
});
const unmountParams = z.strictObject({ mountpoint: z.string().max(4096).startsWith('/'), lazy: z.boolean() });

function checked<T>(shape: z.ZodType<T>, params: unknown): T {
  const parsed = shape.safeParse(params);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new Failure('INVALID_ARGUMENT', `keeper request, field ${issue.path.join('.')}: ${issue.message}`);
}

/** A mount of one of the two drivers. */
type OneMount = KeptMount | NativeMount;

function info(mount: OneMount): MountInfo {
  const { id, mountpoint, device, config, negotiated } = mount.record;
  const kept = mount instanceof KeptMount;
  const serverDeath = !kept ? 'ends' : negotiated?.resend === true ? 'waits' : 'fails';
  return { id, repository: config.fqrn, mountpoint, device, dir: mount.dir, serverPid: mount.serverPid, serverVersion: kept ? mount.serverVersion : null, replaceable: kept, unserved: kept ? mount.unserved : null, serverDeath, inodeBits: config.inodeBits, cacheDir: config.cacheDir };
}

/** Takes the one lock of a `run_dir`; null when another keeper holds it. It is given back by the end of the process. */
export function lockKeeper(runDir: string): number | null {
  const fd = fs.openSync(path.join(runDir, 'keeper.lock'), fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  if (libc().flock(fd, LOCK_EX | LOCK_NB)) return fd;
  fs.closeSync(fd);
  return null;
}

export function keeperSocket(runDir: string): string {
  return path.join(runDir, 'keeper.sock');
}

export class Keeper {
  readonly #world: KeeperWorld;
  readonly #mounts = new Map<string, OneMount>();
  readonly #dead = new Map<string, { record: MountRecord; reason: string }>();
  readonly #setAside: string[] = [];
  /** Mount points that are being mounted or unmounted: one thing at a time for each. */
  readonly #busy = new Set<string>();
  #control: ControlServer | null = null;
  #idle: NodeJS.Timeout | null = null;
  #upgrade: UpgradeState | null;
  #leaving = false;
  readonly #since: number;
  readonly #monotonicMs: () => number;
  readonly #onEnd: (end: KeeperEnd) => void;

  constructor(world: Omit<KeeperWorld, 'spare' | 'pings'> & { readonly sockets: DescriptorSocket; readonly monotonicMs: () => number; readonly upgrade?: UpgradeState | null }, onEnd: (end: KeeperEnd) => void) {
    const { runDir, sockets, log, monotonicMs } = world;
    const pings = new Pings({ log, monotonicMs });
    const spare = new Spare({ runDir, sockets, log, pings, announceAll: (standby) => this.#announceAll(standby), foreign: (failure) => this.#makeRoom(failure) });
    this.#world = { ...world, spare, pings };
    this.#upgrade = world.upgrade ?? null;
    this.#monotonicMs = monotonicMs;
    this.#since = monotonicMs();
    this.#onEnd = onEnd;
  }

  /** Takes over what an earlier keeper left, then listens. The caller holds the keeper's lock. */
  async start(): Promise<void> {
    const records = readRecords(this.#world.runDir, (file, failure) => {
      this.#world.log.error('record of a mount set aside', { file, error: failure });
      this.#setAside.push(failure.message);
    });
    makeKeeperDirs(this.#world.runDir);
    await this.#takeOver(records);
    this.#control = await listenControl({
      path: keeperSocket(this.#world.runDir),
      allowedUids: [0],
      peerCredentials: this.#world.libc.peerCredentials,
      log: this.#world.log,
      methods: {
        mount: async (params) => info(await this.#mount(params)),
        unmount: (params) => this.#unmount(params),
        upgrade: (params) => this.#beginUpgrade(params),
        list: () => this.#list(),
      },
    });
    this.#considerIdle();
  }

  /**
   * First a copy of every descriptor, then the earlier spare is stopped, which might take a mount over at any moment, then
   * who serves: from here on nothing changes but by this keeper.
   */
  async #takeOver(records: readonly MountRecord[]): Promise<void> {
    const { log, runDir, libc, watch, store } = this.#world;
    const stored = store.take(new Map(records.filter((record) => record.phase !== 'mounting' && isMounted(record)).map(({ id, device }) => [id, device])));
    const held: Array<{ record: MountRecord; fuseFd: number }> = [];
    for (const record of records) {
      if (record.phase === 'mounting') this.#takeBack(record);
      else if (record.config.driver === 'fuse-native') this.#adoptNative(record);
      else {
        try {
          held.push({ record, fuseFd: stored.get(record.id) ?? (await copyDescriptor(libc, record, mountDir(runDir, record.id))) });
          if (!stored.has(record.id)) store.put(record.id, held.at(-1)!.fuseFd);
        } catch (error) {
          this.#setDead(record, error);
        }
      }
    }
    this.#world.spare.replaces(await stopEarlierSpares(runDir, records, watch));
    for (const { record, fuseFd } of held) {
      const server = await findServer(record, mountDir(runDir, record.id));
      if (server === null && record.server !== null && isAlive(record.server)) killProcess(record.server.pid);
      this.#add(KeptMount.adopt(this.#world, record, fuseFd, server, isMounted(record)));
      log.info('mount taken over', { repository: record.config.fqrn, mountpoint: record.mountpoint, server: server?.pid ?? null });
    }
    for (const mount of this.#kept()) mount.resume();
    if (this.#kept().length === 0) this.#world.spare.end();
    this.#wantSpare();
  }

  #adoptNative(record: MountRecord): void {
    try {
      this.#add(NativeMount.adopt(this.#world, record, isMounted(record)));
    } catch (error) {
      this.#setDead(record, error);
    }
  }

  /** The mounts that a spare can take over. */
  #kept(): KeptMount[] {
    return [...this.#mounts.values()].filter((mount) => mount instanceof KeptMount);
  }

  /** A mount that nobody holds: dead when it is still in the mount table, else only its traces are left. */
  #setDead(record: MountRecord, error: unknown): void {
    const { log, runDir } = this.#world;
    if (isMounted(record)) {
      log.error('a mount is dead', { repository: record.config.fqrn, mountpoint: record.mountpoint, error });
      this.#dead.set(record.mountpoint, { record, reason: Failure.from(error).message });
    } else {
      removeMountDir(runDir, record.id, log);
      removeRecord(runDir, record.id);
    }
  }

  #announceAll(standby: StandbyProcess): void {
    for (const mount of this.#kept()) {
      if (mount.record.serverUid !== standby.uid || mount.record.serverGid !== standby.gid) continue;
      mount.announceTo(standby).catch((error: unknown) => this.#world.log.warn('a spare does not hold a mount', { mountpoint: mount.record.mountpoint, error }));
    }
  }

  /** A spare is there as long as there are mounts, as the user of the newest one. */
  #wantSpare(): void {
    const newest = this.#kept().pop();
    if (newest !== undefined) this.#world.spare.want(newest.record.serverUid, newest.record.serverGid);
  }

  #takeBack(record: MountRecord): void {
    try {
      takeBack(this.#world, record);
    } catch (error) {
      this.#world.log.error('a mount that was begun could not be taken back', { repository: record.config.fqrn, mountpoint: record.mountpoint, error });
      this.#dead.set(record.mountpoint, { record, reason: `it was never completed: ${Failure.from(error).message}` });
    }
  }

  #add(mount: OneMount): void {
    this.#mounts.set(mount.record.id, mount);
    const over: Promise<Ending | void> = mount.over;
    void over.then((ending) => {
      this.#mounts.delete(mount.record.id);
      if (mount instanceof NativeMount) {
        if (mount.dead !== null) this.#dead.set(mount.record.mountpoint, { record: mount.record, reason: mount.dead });
      } else if (ending?.aborted === true) this.#dead.set(mount.record.mountpoint, { record: mount.record, reason: 'the kernel has aborted its connection' });
      this.#considerIdle();
    });
  }

  async #mount(params: unknown): Promise<OneMount> {
    const { config: rawConfig, ...request } = checked(mountParams, params);
    const config = checkRepositoryConfig(rawConfig);
    const { mountpoint } = request;
    return this.#alone(mountpoint, async () => {
      const other = [...this.#mounts.values()].find((mount) => mount.record.mountpoint === mountpoint && isMounted(mount.record));
      if (other !== undefined) throw new Failure('ALREADY_EXISTS', `${mountpoint} shows ${other.record.config.fqrn} already`, { next: `run mesos-cvmfs umount ${mountpoint} first` });
      // A mount point inside one of our own mounts would make the keeper walk through a file system that it has to serve.
      const around = [...this.#mounts.values()].find((mount) => mountpoint.startsWith(`${mount.record.mountpoint}/`));
      if (around !== undefined) throw new Failure('INVALID_ARGUMENT', `${mountpoint} lies inside the mounted repository ${around.record.config.fqrn}`, { next: 'choose a directory outside of it' });
      if (this.#dead.has(mountpoint)) throw new Failure('ALREADY_EXISTS', `${mountpoint} holds a dead mount`, { next: `run mesos-cvmfs umount ${mountpoint} first` });
      if (this.#mounts.size >= MOUNTS_MAX) throw new Failure('RESOURCE_EXHAUSTED', `the keeper holds ${MOUNTS_MAX} mounts already`);
      if (config.driver === 'fuse-native') {
        const mount = await NativeMount.create(this.#world, { ...request, config });
        this.#add(mount);
        return mount;
      }
      try {
        return await KeptMount.create(this.#world, { ...request, config }, (made) => this.#add(made));
      } finally {
        this.#wantSpare();
      }
    });
  }

  async #unmount(params: unknown): Promise<object> {
    const { mountpoint, lazy } = checked(unmountParams, params);
    await this.#alone(mountpoint, async () => {
      const dead = this.#dead.get(mountpoint);
      if (dead !== undefined) {
        // Its file system is gone, so nobody can be told to let go first.
        unmountPath(this.#world.libc, mountpoint, true);
        removeRecord(this.#world.runDir, dead.record.id);
        removeMountDir(this.#world.runDir, dead.record.id, this.#world.log);
        this.#dead.delete(mountpoint);
        return;
      }
      const mount = [...this.#mounts.values()].find((one) => one.record.mountpoint === mountpoint && one.record.phase === 'mounted');
      if (mount === undefined) throw new Failure('NOT_FOUND', `nothing of ours is mounted at ${mountpoint}`, { next: 'mesos-cvmfs status lists the mounts' });
      await mount.unmount(lazy);
      // The server ends when the kernel lets go, which is at once unless another mount namespace still shows the tree.
      await Promise.race([mount.over, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    });
    this.#considerIdle();
    return {};
  }

  #list(): KeeperList {
    this.#considerIdle();
    return {
      keeperPid: process.pid,
      keeperVersion: VERSION,
      spareVersion: this.#world.spare.ready ? (this.#world.spare.process?.version ?? null) : null,
      sparePid: this.#world.spare.ready ? (this.#world.spare.process?.identity.pid ?? null) : null,
      stored: this.#world.store.managed,
      mounts: [...this.#mounts.values()].filter((mount) => mount.record.phase === 'mounted').map(info),
      dead: [...this.#dead.values()].map(({ record, reason }) => ({ repository: record.config.fqrn, mountpoint: record.mountpoint, reason })),
      warnings: this.#setAside,
      upgrade: this.#upgrade,
    };
  }

  #beginUpgrade(params: unknown): object {
    const { timeoutMs, ...asked } = checked(upgradeParams, params);
    if (this.#upgrade?.state === 'running') throw new Failure('FAILED_PRECONDITION', `an upgrade to version ${this.#upgrade.version} is under way: ${this.#upgrade.step}`, { next: 'mesos-cvmfs upgrade --check says how far it is' });
    const program = checkProgram(asked);
    this.#world.log.info('upgrade begun', { from: VERSION, to: program.version, dir: program.dir });
    this.#upgrade = { version: program.version, state: 'running', step: 'begun', mountsDone: 0, mountsTotal: 0, failure: null };
    void this.#runUpgrade(program, timeoutMs);
    return {};
  }

  async #runUpgrade(program: Program, timeoutMs: number): Promise<void> {
    const { spare, log } = this.#world;
    const progress = (step: string, mountsDone: number, mountsTotal: number): void => {
      this.#upgrade = { ...this.#upgrade!, step, mountsDone, mountsTotal };
    };
    try {
      try {
        await upgradeServers({ spare, log, mounts: () => this.#kept(), progress }, program, timeoutMs);
      } catch (error) {
        // Its servers work with a keeper of their own version only: that one replaces them, when it is asked again.
        if (Failure.from(error).data['protocol'] === undefined || program.version === VERSION) throw error;
        log.warn('the keeper is replaced before the servers', { error });
      }
      if (program.version !== VERSION) await this.#handOver(program);
      else this.#upgrade = { ...this.#upgrade!, state: 'done', step: 'done' };
    } catch (error) {
      log.error('the upgrade has failed', { version: program.version, error });
      this.#upgrade = { ...this.#upgrade!, state: 'failed', failure: Failure.from(error).message };
    }
  }

  /** The files of this program were replaced by those of a version that this keeper cannot work with: another keeper can. */
  #makeRoom(failure: Failure): void {
    const { log } = this.#world;
    log.error('this keeper can start no servers any more', { error: failure });
    if (this.#upgrade?.state === 'running' || this.#monotonicMs() - this.#since < FOREIGN_AFTER_MS) return;
    void this.#handOver(ownProgram());
  }

  /** Lets go of everything, once what is under way is done, and ends in favour of a successor. */
  async #handOver(program: Program): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    if (this.#upgrade !== null) this.#upgrade = { ...this.#upgrade, step: 'the keeper makes room for its successor' };
    for (const giveUpAt = this.#monotonicMs() + SETTLE_MS; this.#monotonicMs() < giveUpAt && (this.#busy.size > 0 || this.#kept().some((mount) => !mount.isSettled)); ) await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS));
    const { spare, pings, watch } = this.#world;
    this.#control?.close();
    if (this.#idle !== null) clearTimeout(this.#idle);
    pings.close();
    spare.letGo();
    const descriptors = this.#kept().map((mount) => mount.letGo());
    watch.close();
    this.#onEnd({ successor: program, descriptors });
  }

  async #alone<T>(mountpoint: string, work: () => Promise<T>): Promise<T> {
    if (this.#leaving) throw new Failure('FAILED_PRECONDITION', 'the keeper is being replaced', { next: 'try again' });
    if (this.#busy.has(mountpoint)) throw new Failure('FAILED_PRECONDITION', `${mountpoint} is being mounted or unmounted`, { next: 'try again' });
    this.#busy.add(mountpoint);
    if (this.#idle !== null) clearTimeout(this.#idle);
    try {
      return await work();
    } finally {
      this.#busy.delete(mountpoint);
      this.#considerIdle();
    }
  }

  /** Ends the keeper some time after the last mount has gone, also by somebody else's `umount`. */
  #considerIdle(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    // A service manager would start it again at once.
    if (this.#mounts.size > 0 || this.#busy.size > 0 || this.#leaving || this.#upgrade?.state === 'running' || this.#world.store.managed) return;
    this.#idle = setTimeout(() => {
      this.#control?.close();
      this.#world.spare.end();
      this.#world.pings.close();
      this.#world.watch.close();
      this.#onEnd({ successor: null });
    }, IDLE_MS);
  }
}

/** True when the record's mount is still in the mount table: same target and same device. */
function isMounted(record: MountRecord): boolean {
  const target = Buffer.from(record.mountpoint);
  return readMountinfo().some((entry) => entry.device === record.device && entry.type === FUSE_TYPE && entry.mountpoint.equals(target));
}
