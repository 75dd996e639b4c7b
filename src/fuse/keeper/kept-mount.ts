/**
 * One mount in the keeper: its descriptor, its server, and the rule that a server which dies is started again as long as
 * the mount exists.
 *
 *     starting ──► mounted ──► (server dies) ──► mounted, no server ──► …
 *        │            │ unmounted by us or by anybody
 *        └──► over ◄──┘
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import { MNT_DETACH, MS_NODEV, MS_NOSUID, MS_RDONLY, UMOUNT_NOFOLLOW } from '../../native/libc';
import type { Libc } from '../../native/libc';
import type { RepositoryConfig } from '../../config/repository-config';
import { ControlClient } from '../control/control-client';
import { negotiate } from '../kernel/init';
import { MAX_READ_BYTES, REQUEST_BUFFER_BYTES } from '../kernel/protocol';
import { removeRecord, writeRecord } from './mount-record';
import type { MountRecord } from './mount-record';
import { FUSE_TYPE, mountAt } from './own-mounts';
import { readMountinfo } from '../../native/mountinfo';
import { isAlive } from './process-identity';
import { adoptServer, controlPath, fuseDescriptorOf, spawnServer } from './server-process';
import type { ServerProcess } from './server-process';

/**
 * Readers wait while no server runs, so the first restarts are immediate; those of a server that keeps dying (a fault that
 * each successor meets again) come ever later, so that the host has its processors. It never gives up while the mount exists.
 */
const RESTARTS_AT_ONCE = 4;
const RESTART_DELAY_MS = 10;
const RESTART_DELAY_GROWTH = 1.3;
const RESTART_DELAY_MAX_MS = 5_000;
/** A server that lived this long died of something new: the next start does not wait. */
const STABLE_MS = 10_000;
/** How often a server that was taken over before it served is told to. */
const SERVE_POLL_MS = 50;
/** Time a first server has to fetch what a mount needs. */
const READY_TIMEOUT_MS = 120_000;
/** Of every mount; the kernel's default is 128. */
const READAHEAD_KB = 1024;
const LOG_BYTES_MAX = 1024 * 1024;
const LAST_WORDS_BYTES = 2_048;

export interface KeeperWorld {
  readonly runDir: string;
  readonly libc: Libc;
  readonly log: Logger;
}

export interface MountRequest {
  readonly mountpoint: string;
  readonly config: RepositoryConfig;
  readonly serverUid: number;
  readonly serverGid: number;
}

export class KeptMount {
  readonly #world: KeeperWorld;
  #record: MountRecord;
  #fuseFd: number;
  #server: ServerProcess | null = null;
  #restarts = 0;
  #over = false;
  readonly #whenOver: () => void;
  /** Ends when the mount is gone and nothing of it is left. */
  readonly over: Promise<void>;

  private constructor(world: KeeperWorld, record: MountRecord, fuseFd: number) {
    this.#world = world;
    this.#record = record;
    this.#fuseFd = fuseFd;
    let resolve: () => void = () => undefined;
    this.over = new Promise((done) => (resolve = done));
    this.#whenOver = resolve;
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

  /** Makes a mount. Nothing is mounted before its server has the repository's root catalog; on failure nothing is left. */
  static async create(world: KeeperWorld, request: MountRequest): Promise<KeptMount> {
    const id = crypto.randomBytes(6).toString('hex');
    const record: MountRecord = { version: 1, id, ...request, phase: 'mounting', device: '', negotiated: null, server: null };
    const mount = new KeptMount(world, record, fs.openSync('/dev/fuse', 'r+'));
    try {
      makeKeeperDirs(world);
      writeRecord(world.runDir, record);
      makeMountDir(world, record);
      const server = mount.#spawn();
      mount.#update({ server: server.identity });
      await within(READY_TIMEOUT_MS, mount.#ready(server), `the file system server of ${request.config.fqrn}`);
      mount.#mount();
      await mount.#serve(false);
      return mount;
    } catch (error) {
      await mount.#undo();
      throw error;
    }
  }

  /**
   * Takes over a mount of an earlier keeper through its living server; throws when there is none to take it from.
   * `present`: the mount table has it, so an unmount that was begun was not done.
   */
  static async adopt(world: KeeperWorld, before: MountRecord, present: boolean): Promise<KeptMount> {
    const record: MountRecord = present ? { ...before, phase: 'mounted' } : before;
    if (record.server === null || !isAlive(record.server)) throw new Failure('FAILED_PRECONDITION', `mount ${record.mountpoint} has neither keeper nor server`, { next: `run mesos-cvmfs umount ${record.mountpoint}` });
    const mount = new KeptMount(world, record, fuseDescriptorOf(record.server, world.libc.descriptorOf));
    mount.#watch(adoptServer(record.server, mount.dir));
    mount.#update({});
    void mount.#makeServe();
    return mount;
  }

  /** A keeper that was killed after it had started a server and before it told it to serve leaves one that waits for ever. */
  async #makeServe(): Promise<void> {
    const server = this.#server;
    for (let waited = 0; server !== null && this.#server === server; waited += SERVE_POLL_MS) {
      try {
        return await this.#serve(true);
      } catch (error) {
        const failure = Failure.from(error);
        // It serves already: the usual case.
        if (failure.code === 'FAILED_PRECONDITION') return;
        if (waited >= READY_TIMEOUT_MS) {
          this.#world.log.error('a server that was taken over does not serve', { repository: this.#record.config.fqrn, error: failure });
          return killProcess(server.identity.pid);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, SERVE_POLL_MS));
    }
  }

  /** Unmounts. FAILED_PRECONDITION when it is in use and `lazy` is false; lazily it goes when its last user goes. */
  async unmount(lazy: boolean): Promise<void> {
    const before = this.#record.phase;
    this.#update({ phase: 'unmounting' });
    try {
      unmountPath(this.#world.libc, this.#record.mountpoint, lazy);
    } catch (error) {
      this.#update({ phase: before });
      throw error;
    }
    this.#world.log.info('unmounted', { repository: this.#record.config.fqrn, mountpoint: this.#record.mountpoint, lazy });
  }

  #mount(): void {
    const { mountpoint, config } = this.#record;
    const options = `fd=${this.#fuseFd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${MAX_READ_BYTES}`;
    this.#world.libc.mount(config.fqrn, mountpoint, FUSE_TYPE, MS_RDONLY | MS_NOSUID | MS_NODEV, options);
    // INIT was queued by mount(2), so this read returns at once; nobody else reads yet.
    const request = Buffer.alloc(REQUEST_BUFFER_BYTES);
    const length = fs.readSync(this.#fuseFd, request);
    const { reply, negotiated } = negotiate(request.subarray(0, length), { maxBackground: config.maxBackground, maxReadaheadBytes: READAHEAD_KB * 1024 });
    fs.writeSync(this.#fuseFd, reply);
    const device = mountAt(readMountinfo(), mountpoint)?.device ?? '';
    this.#update({ phase: 'mounted', device, negotiated });
    this.#raiseReadahead(device);
    this.#world.log.info('mounted', { repository: config.fqrn, mountpoint, device, resend: negotiated.resend });
  }

  /** INIT can only lower the read-ahead of 128 KiB that a mount begins with. */
  #raiseReadahead(device: string): void {
    try {
      fs.writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(READAHEAD_KB));
    } catch (error) {
      this.#world.log.warn('read-ahead of the mount stays at its default', { device, error });
    }
  }

  #spawn(): ServerProcess {
    const { id, mountpoint, config, serverUid, serverGid } = this.#record;
    const indexFd = openInside(path.join(this.dir, 'index'), fs.constants.O_RDWR, serverUid, serverGid);
    const logFd = openInside(path.join(this.dir, 'server.log'), fs.constants.O_WRONLY | fs.constants.O_APPEND, serverUid, serverGid);
    try {
      // Each server begins with room in its log, which is bounded since run_dir is memory.
      if (fs.fstatSync(logFd).size > LOG_BYTES_MAX) fs.ftruncateSync(logFd, 0);
      const envelope = { id, mountpoint, dir: this.dir, config };
      const server = spawnServer({ envelope, keeperDir: path.join(this.#world.runDir, 'keeper'), fuseFd: this.#fuseFd, indexFd, logFd, uid: serverUid, gid: serverGid });
      this.#watch(server);
      return server;
    } finally {
      fs.closeSync(indexFd);
      fs.closeSync(logFd);
    }
  }

  async #ready(server: ServerProcess): Promise<void> {
    const failure = await server.ready;
    if (failure !== null) throw failure;
  }

  /** Lets the server read requests; `resend` repeats what a dead predecessor had taken and not answered. */
  async #serve(resend: boolean): Promise<void> {
    const negotiated = this.#record.negotiated;
    if (negotiated === null) throw new Failure('INTERNAL', 'a mount is served before INIT');
    const control = await ControlClient.connect(controlPath(this.dir), 'file system server');
    try {
      await control.call('serve', { negotiated, resend: resend && negotiated.resend });
    } finally {
      control.close();
    }
    protectFromOom(this.#server?.identity.pid);
  }

  #watch(server: ServerProcess): void {
    this.#server = server;
    const since = Date.now();
    void server.ended.then(({ gone }) => {
      if (this.#server !== server) return;
      this.#server = null;
      if (this.#over || this.#record.phase === 'mounting') return;
      if (gone) this.#finish();
      else {
        if (Date.now() - since > STABLE_MS) this.#restarts = 0;
        void this.#restart();
      }
    });
  }

  async #restart(): Promise<void> {
    const late = this.#restarts - RESTARTS_AT_ONCE;
    const delay = late < 0 ? 0 : Math.floor(Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * RESTART_DELAY_GROWTH ** late));
    this.#restarts += 1;
    this.#world.log.warn('file system server ended; starting another', { repository: this.#record.config.fqrn, delayMs: delay });
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    if (this.#over) return;
    let server: ServerProcess | null = null;
    try {
      server = this.#spawn();
      this.#update({ server: server.identity });
      await within(READY_TIMEOUT_MS, this.#ready(server), `the file system server of ${this.#record.config.fqrn}`);
      await this.#serve(true);
    } catch (error) {
      this.#world.log.error('file system server did not start', { repository: this.#record.config.fqrn, error });
      // Nothing was started whose end would lead here again.
      if (server === null) void this.#restart();
      // A server that is not ready and does not end would keep the next one from being started.
      else if (this.#server === server) killProcess(server.identity.pid);
    }
  }

  /** The kernel has given the mount up: forget it. */
  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    fs.closeSync(this.#fuseFd);
    this.#fuseFd = -1;
    removeMountDir(this.#world, this.#record);
    removeRecord(this.#world.runDir, this.#record.id);
    this.#world.log.info('mount is gone', { repository: this.#record.config.fqrn, mountpoint: this.#record.mountpoint });
    this.#whenOver();
  }

  /** Takes a mount that was not completed back, whatever part of it there is. */
  async #undo(): Promise<void> {
    const server = this.#server;
    if (this.#record.phase !== 'mounting' || mountAt(readMountinfo(), this.#record.mountpoint)?.type === FUSE_TYPE) {
      try {
        unmountPath(this.#world.libc, this.#record.mountpoint, true);
      } catch (error) {
        this.#world.log.error('a mount that failed could not be undone', { mountpoint: this.#record.mountpoint, error });
      }
    }
    if (server !== null) {
      killProcess(server.identity.pid);
      await server.ended;
    }
    this.#keepLastWords();
    this.#finish();
  }

  /** The server's log goes with its folder; its end is what explains a failed mount. */
  #keepLastWords(): void {
    try {
      const fd = openInside(path.join(this.dir, 'server.log'), fs.constants.O_RDONLY, this.#record.serverUid, this.#record.serverGid);
      try {
        const size = fs.fstatSync(fd).size;
        const tail = Buffer.alloc(Math.min(size, LAST_WORDS_BYTES));
        fs.readSync(fd, tail, 0, tail.length, size - tail.length);
        if (tail.length > 0) this.#world.log.warn('last words of a file system server', { repository: this.#record.config.fqrn, text: tail.toString() });
      } finally {
        fs.closeSync(fd);
      }
    } catch (error) {
      this.#world.log.debug('no last words', { error });
    }
  }

  #update(change: Partial<MountRecord>): void {
    this.#record = { ...this.#record, ...change };
    writeRecord(this.#world.runDir, this.#record);
  }
}

export function mountDir(runDir: string, id: string): string {
  return path.join(runDir, 'mounts', id);
}

export function makeKeeperDirs(world: KeeperWorld): void {
  fs.mkdirSync(path.join(world.runDir, 'keeper'), { recursive: true, mode: 0o700 });
  fs.mkdirSync(path.join(world.runDir, 'mounts'), { recursive: true, mode: 0o711 });
}

/** The server's own folder: 0700, of the server's user. */
export function makeMountDir(world: KeeperWorld, record: MountRecord): void {
  const dir = mountDir(world.runDir, record.id);
  fs.mkdirSync(dir, { mode: 0o700 });
  fs.chownSync(dir, record.serverUid, record.serverGid);
}

/**
 * Opens a file in the server's folder, or makes it. The server's user may have put anything there: a link is not
 * followed, and only a file that was made now is given to that user (an old one might be a hard link to somebody else's).
 */
export function openInside(file: string, flags: number, uid: number, gid: number): number {
  const safe = flags | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
  try {
    const made = fs.openSync(file, safe | fs.constants.O_CREAT | fs.constants.O_EXCL, 0o600);
    fs.fchownSync(made, uid, gid);
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const fd = fs.openSync(file, safe);
  const stat = fs.fstatSync(fd);
  if (stat.isFile() && stat.nlink === 1 && stat.uid === uid) return fd;
  fs.closeSync(fd);
  throw new Failure('STATE_DAMAGED', `${file} is not the server's own file`, { next: 'unmount the repository and mount it again' });
}

/** Takes back a mount that an earlier keeper had begun to make; whoever asked for it was told that it failed. */
export function takeBack(world: KeeperWorld, record: MountRecord): void {
  if (record.server !== null && isAlive(record.server)) killProcess(record.server.pid);
  const there = mountAt(readMountinfo(), record.mountpoint);
  if (there?.type === FUSE_TYPE && there.source.toString() === record.config.fqrn) unmountPath(world.libc, record.mountpoint, true);
  removeMountDir(world, record);
  removeRecord(world.runDir, record.id);
  world.log.warn('a mount that was begun was taken back', { repository: record.config.fqrn, mountpoint: record.mountpoint });
}

/**
 * Removes the server's folder; only names directly in it, so that nothing put there leads elsewhere. If its user has made
 * folders of its own in there they stay: they must not keep the keeper from its other mounts.
 */
export function removeMountDir(world: KeeperWorld, { id }: MountRecord): void {
  const dir = mountDir(world.runDir, id);
  try {
    for (const name of fs.readdirSync(dir)) fs.unlinkSync(path.join(dir, name));
    fs.rmdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') world.log.warn('the folder of a mount stays', { dir, error });
  }
}

export function unmountPath(libc: Libc, mountpoint: string, lazy: boolean): void {
  try {
    libc.umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
  } catch (error) {
    const failure = Failure.from(error);
    if (failure.data['errno'] === 'EBUSY') throw new Failure('FAILED_PRECONDITION', `${mountpoint} is in use`, { cause: error, next: 'end what uses it, or unmount with --lazy' });
    if (failure.data['errno'] === 'EINVAL') return;
    throw failure;
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A host short of memory should end a container, not the server of all containers. */
function protectFromOom(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    fs.writeFileSync(`/proc/${pid}/oom_score_adj`, '-900');
  } catch {
    // Without CAP_SYS_RESOURCE the score stays; nothing else depends on it.
  }
}

export async function within<T>(timeoutMs: number, work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `${what} was not ready within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
