/**
 * One mount with the fuse-native driver, as its keeper sees it. libfuse holds the descriptor, so the mount lives as long as
 * its process: one that dies is not started again, it is reported as dead until somebody unmounts it.
 *
 *     starting ──► mounted ──► (process dies) ──► dead
 *        │            │ unmounted by us or by anybody
 *        └──► over ◄──┘
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import { readMountinfo } from '../../native/mountinfo';
import { takeBack } from '../keeper/kept-mount';
import type { KeeperWorld, MountRequest } from '../keeper/kept-mount';
import { makeInside, makeKeeperDirs, makeMountDir, mountDir, removeMountDir } from '../keeper/mount-dir';
import { removeRecord, writeRecord } from '../keeper/mount-record';
import type { MountRecord } from '../keeper/mount-record';
import { FUSE_TYPE, mountAt } from '../keeper/own-mounts';
import { unmountPath } from '../keeper/unmount-path';
import { isAlive } from '../process-identity';
import { adoptNative, spawnNative, within } from './native-process';
import type { NativeProcess } from './native-process';

/** Time that the process has to mount, and to fetch what a mount needs. */
const READY_TIMEOUT_MS = 120_000;

export class NativeMount {
  readonly #world: KeeperWorld;
  #record: MountRecord;
  #server: NativeProcess | null = null;
  /** Why the kernel answers ENOTCONN for it; null while it does not. */
  dead: string | null = null;
  #whenOver: () => void = () => undefined;
  /** Ends when the mount is gone, or dead. */
  readonly over: Promise<void> = new Promise((resolve) => (this.#whenOver = resolve));

  private constructor(world: KeeperWorld, record: MountRecord) {
    this.#world = world;
    this.#record = record;
  }

  get record(): MountRecord {
    return this.#record;
  }

  get serverPid(): number | null {
    return this.#server?.identity.pid ?? null;
  }

  get dir(): string {
    return mountDir(this.#world.runDir, this.#record.id);
  }

  /** Makes a mount; on failure nothing is left. The package has 32 bits for an inode number, so `inode_bits` is 32. */
  static async create(world: KeeperWorld, request: MountRequest): Promise<NativeMount> {
    const id = crypto.randomBytes(6).toString('hex');
    const config = { ...request.config, inodeBits: 32 as const };
    const record: MountRecord = { version: 1, id, ...request, config, phase: 'mounting', device: '', negotiated: null, server: null };
    const mount = new NativeMount(world, record);
    try {
      makeKeeperDirs(world.runDir);
      writeRecord(world.runDir, record);
      makeMountDir(world.runDir, record);
      const server = mount.#spawn();
      mount.#update({ server: server.identity });
      const failure = await within(READY_TIMEOUT_MS, server.ready, `the fuse-native driver of ${config.fqrn}`);
      if (failure !== null) throw failure;
      const entry = mountAt(readMountinfo(), record.mountpoint);
      if (entry?.type !== FUSE_TYPE) throw new Failure('INTERNAL', `the fuse-native driver of ${config.fqrn} is ready and nothing is mounted at ${record.mountpoint}`);
      mount.#update({ phase: 'mounted', device: entry.device });
      mount.#watch(server);
      world.log.info('mounted with the fuse-native driver', { repository: config.fqrn, mountpoint: record.mountpoint, device: entry.device, pid: server.identity.pid });
      return mount;
    } catch (error) {
      takeBack(world, mount.record);
      throw error;
    }
  }

  /** Goes on watching a mount of an earlier keeper; throws when its process is gone. */
  static adopt(world: KeeperWorld, before: MountRecord, present: boolean): NativeMount {
    const record: MountRecord = present ? { ...before, phase: 'mounted' } : before;
    if (record.server === null || !isAlive(record.server)) throw new Failure('FAILED_PRECONDITION', endOf(record), { next: `run mesos-cvmfs umount ${record.mountpoint}, then mount it again` });
    const mount = new NativeMount(world, record);
    mount.#watch(adoptNative(record.server, world.watch));
    mount.#update({});
    return mount;
  }

  /** Unmounts. FAILED_PRECONDITION when it is in use and `lazy` is false; lazily it goes when its last user goes. */
  unmount(lazy: boolean): Promise<void> {
    const before = this.#record.phase;
    this.#update({ phase: 'unmounting' });
    try {
      unmountPath(this.#world.libc, this.#record.mountpoint, lazy);
    } catch (error) {
      this.#update({ phase: before });
      return Promise.reject(Failure.from(error));
    }
    return Promise.resolve();
  }

  #spawn(): NativeProcess {
    const { id, mountpoint, config, serverUid, serverGid } = this.#record;
    const indexFd = makeInside(path.join(this.dir, 'index'), fs.constants.O_RDWR, serverUid, serverGid);
    const logFd = makeInside(path.join(this.dir, 'server.log'), fs.constants.O_WRONLY | fs.constants.O_APPEND, serverUid, serverGid);
    try {
      return spawnNative({ envelope: { id, mountpoint, dir: this.dir, config }, keeperDir: path.join(this.#world.runDir, 'keeper'), indexFd, logFd, uid: serverUid, gid: serverGid });
    } finally {
      fs.closeSync(indexFd);
      fs.closeSync(logFd);
    }
  }

  #watch(server: NativeProcess): void {
    this.#server = server;
    void server.ended.then(() => {
      this.#server = null;
      const { mountpoint, device, config } = this.#record;
      const left = readMountinfo().some((entry) => entry.device === device && entry.type === FUSE_TYPE && entry.mountpoint.equals(Buffer.from(mountpoint)));
      if (left) {
        this.dead = endOf(this.#record);
        this.#world.log.error('a mount is dead', { repository: config.fqrn, mountpoint, reason: this.dead });
      } else {
        removeMountDir(this.#world.runDir, this.#record.id, this.#world.log);
        removeRecord(this.#world.runDir, this.#record.id);
        this.#world.log.info('mount is gone', { repository: config.fqrn, mountpoint });
      }
      this.#whenOver();
    });
  }

  #update(change: Partial<MountRecord>): void {
    this.#record = { ...this.#record, ...change };
    writeRecord(this.#world.runDir, this.#record);
  }
}

function endOf(record: MountRecord): string {
  return `the process of its fuse-native driver (${record.server?.pid ?? 'none'}) has ended, and such a mount ends with its process; unmount it and mount it again`;
}
