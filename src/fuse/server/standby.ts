/**
 * The mounts that a process could serve: their descriptors, until it becomes the server of one. Should the keeper end
 * first, a standby guards them all: it waits for the end of their servers and takes the first one over that dies.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import type { DescriptorSocket } from '../../native/descriptor-socket';
import { LOCK_EX, LOCK_NB } from '../../native/libc';
import type { Libc } from '../../native/libc';
import type { ProcessWatch } from '../../native/process-watch';
import { VERSION } from '../../version';
import { isAlive, startTicks } from '../process-identity';
import { announcedShape, DESCRIPTORS_FD, DEVICES_MAX, forgetShape, ID_BYTES, MOUNT_DESCRIPTORS, updateShape } from './envelope';
import type { Announced } from './envelope';
import { readServer, removeSpare, writeSpare } from './holder';

const MOUNTS_MAX = 4_096;
/** Beside the end of a server, an orphan looks at the lock this often: a server that it was not told of may have had it. */
const GUARD_MS = 500;
/** A successor that failed to open its mount tries again, since nobody else can. */
const RETRY_MS = 1_000;

export interface HeldMount {
  announced: Announced;
  readonly fuseFd: number;
  readonly envelopeFd: number;
  /** Our own open file description: its lock says who reads the mount's requests. */
  readonly indexFd: number;
}

export interface StandbyWorld {
  readonly libc: Libc;
  readonly sockets: DescriptorSocket;
  readonly log: Logger;
  /** Called with each new mount, e.g. to open its cache early. */
  readonly prepare: (mount: Announced) => void;
}

export class Standby {
  readonly #world: StandbyWorld;
  readonly #mounts = new Map<string, HeldMount>();
  /** Unattached devices: whichever mount this process comes to serve is read through clones made of them. */
  #devices: readonly number[] = [];
  /** The mount that this process serves, or is about to. */
  #role: string | null = null;

  constructor(world: StandbyWorld) {
    this.#world = world;
  }

  /** Takes the descriptors that were sent just before this word. */
  announce(params: unknown): void {
    const announced = announcedShape.parse(params);
    const received = this.#world.sockets.receive(DESCRIPTORS_FD, ID_BYTES, MOUNT_DESCRIPTORS + DEVICES_MAX);
    const [fuseFd, envelopeFd, ...devices] = received?.fds ?? [];
    try {
      if (fuseFd === undefined || envelopeFd === undefined || received!.payload.toString('latin1') !== announced.id) throw new Failure('INVALID_ARGUMENT', `no descriptors came for mount ${announced.id}`);
      if (this.#mounts.size >= MOUNTS_MAX) throw new Failure('RESOURCE_EXHAUSTED', `${MOUNTS_MAX} mounts are held already`);
      const { rdev } = fs.statSync('/dev/fuse');
      if ([fuseFd, ...devices].some((fd) => fs.fstatSync(fd).rdev !== rdev)) throw new Failure('INVALID_ARGUMENT', `a descriptor of mount ${announced.id} is not /dev/fuse`);
      this.#drop(announced.id);
      const indexFd = openOwn(path.join(announced.dir, 'index'), fs.constants.O_RDWR);
      this.#mounts.set(announced.id, { announced, fuseFd, envelopeFd, indexFd });
      this.#keep(devices);
    } catch (error) {
      for (const fd of received?.fds ?? []) fs.closeSync(fd);
      throw error;
    }
    writeSpare(announced.dir, { pid: process.pid, startTicks: startTicks(process.pid)!, fuseFd, version: VERSION });
    this.#world.prepare(announced);
  }

  update(params: unknown): void {
    const { id, negotiated, server } = updateShape.parse(params);
    const mount = this.#mounts.get(id);
    if (mount !== undefined) mount.announced = { ...mount.announced, negotiated, server };
  }

  forget(params: unknown): void {
    this.#drop(forgetShape.parse(params).id);
  }

  /** The mount that is to be served from now on; this process holds it no more in this list. */
  take(id: string): HeldMount {
    const mount = this.#mounts.get(id);
    if (mount === undefined) throw new Failure('NOT_FOUND', `mount ${id} was never announced`);
    if (this.#role !== null) throw new Failure('FAILED_PRECONDITION', `this process serves mount ${this.#role}`);
    this.#role = id;
    this.#mounts.delete(id);
    return mount;
  }

  /** The devices for clones of the mount that is served, the caller's from now on. */
  takeDevices(): readonly number[] {
    const devices = this.#devices;
    this.#devices = [];
    return devices;
  }

  /** Lets go of every other mount: the keeper has them. */
  release(): void {
    for (const id of [...this.#mounts.keys()]) this.#drop(id);
  }

  /** Keeps as many devices as the mount with the most readers needs. */
  #keep(devices: readonly number[]): void {
    const needless = devices.length > this.#devices.length ? this.#devices : devices;
    if (needless !== devices) this.#devices = devices;
    for (const fd of needless) fs.closeSync(fd);
  }

  /**
   * The keeper has gone. Becomes the server of the first mount whose own one ends; ends this process, by `die`, when there
   * is nothing to guard any more.
   */
  async guard(watch: ProcessWatch, become: (mount: HeldMount) => Promise<void>, die: () => never): Promise<void> {
    await Promise.all([...this.#mounts.values()].map((mount) => this.#guard(mount, watch, become)));
    if (this.#role === null) die();
  }

  async #guard(mount: HeldMount, watch: ProcessWatch, become: (mount: HeldMount) => Promise<void>): Promise<void> {
    const { libc, log } = this.#world;
    const { id, dir, fqrn } = mount.announced;
    while (this.#role === null) {
      // A mount that was only being made is taken back by the next keeper.
      if (libc.hasError(mount.fuseFd) || mount.announced.negotiated === null) return this.#drop(id);
      const server = readServer(dir) ?? mount.announced.server;
      const over = server === null ? Promise.resolve() : watch.ended(server.pid).catch(() => undefined);
      if (server !== null && isAlive(server)) {
        await Promise.race([over, new Promise((resolve) => setTimeout(resolve, GUARD_MS))]);
        continue;
      }
      if (this.#role !== null) return;
      if (libc.flock(mount.indexFd, LOCK_EX | LOCK_NB)) {
        this.#role = id;
        this.#mounts.delete(id);
        log.warn('server and keeper have gone; this spare takes the mount over', { repository: fqrn });
        for (;;) {
          try {
            return await become(mount);
          } catch (error) {
            log.error('the mount could not be taken over', { repository: fqrn, error });
            await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          }
        }
      }
      await new Promise((resolve) => setTimeout(resolve, GUARD_MS));
    }
  }

  #drop(id: string): void {
    const mount = this.#mounts.get(id);
    if (mount === undefined) return;
    this.#mounts.delete(id);
    removeSpare(mount.announced.dir, process.pid);
    for (const fd of [mount.fuseFd, mount.envelopeFd, mount.indexFd]) fs.closeSync(fd);
  }
}

/** Opens a file of the mount's folder, or makes it; what is no file of ours alone is refused. */
export function openOwn(file: string, flags: number): number {
  const fd = fs.openSync(file, flags | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK, 0o600);
  const stat = fs.fstatSync(fd);
  if (stat.isFile() && stat.nlink === 1 && stat.uid === process.geteuid!()) return fd;
  fs.closeSync(fd);
  throw new Failure('STATE_DAMAGED', `${file} is not the server's own file`, { next: 'unmount the repository and mount it again' });
}
