/**
 * One mount in the keeper: its descriptor, its server, and the rule that a server which dies has a successor as long as
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
import { MS_NODEV, MS_NOSUID, MS_RDONLY } from '../../native/libc';
import type { Libc } from '../../native/libc';
import type { ProcessWatch } from '../../native/process-watch';
import type { RepositoryConfig } from '../../config/repository-config';
import { negotiate } from '../kernel/init';
import { MAX_READ_BYTES, REQUEST_BUFFER_BYTES, resendNotification } from '../kernel/protocol';
import { DEVICES_MAX } from '../server/envelope';
import type { Announced } from '../server/envelope';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { AdoptedServer } from './adopted-server';
import { killProcess } from './kill-process';
import { makeKeeperDirs, makeMountDir, mountDir, openInside, removeMountDir } from './mount-dir';
import type { DescriptorStore } from './descriptor-store';
import { removeRecord, writeRecord } from './mount-record';
import type { MountRecord } from './mount-record';
import { FUSE_TYPE, mountAt } from './own-mounts';
import { readMountinfo } from '../../native/mountinfo';
import type { Pings } from './pings';
import { runBackingDesk } from './backing-desk';
import { envelopeDescriptor } from './server-process';
import type { ServerProcess, StandbyProcess } from './server-process';
import type { Spare } from './spare';
import { unmountPath } from './unmount-path';

/**
 * Readers wait while no server runs, so the first restarts are immediate; those of a server that keeps dying (a fault that
 * each successor meets again) come ever later, so that the host has its processors. It never gives up while the mount exists.
 */
const RESTARTS_AT_ONCE = 4;
const RESTART_DELAY_MS = 10;
const RESTART_DELAY_GROWTH = 1.3;
const RESTART_DELAY_MAX_MS = 5_000;
/** A server that lived this long died of something new: the next start does not wait. */
const STABLE_MS = 2_000;
/** A spare that is warm and does not answer within this is no help. */
const SPARE_ANSWER_MS = 1_000;
/** Time a first server has to fetch what a mount needs. */
const READY_TIMEOUT_MS = 120_000;
/** Of every mount; the kernel's default is 128. */
const READAHEAD_KB = 1024;
const LAST_WORDS_BYTES = 2_048;

export interface KeeperWorld {
  readonly runDir: string;
  /** Negotiates as on a kernel before 6.9, for tests. */
  readonly withoutResend: boolean;
  readonly libc: Libc;
  readonly log: Logger;
  readonly watch: ProcessWatch;
  readonly pings: Pings;
  readonly spare: Spare;
  readonly store: DescriptorStore;
}

export interface MountRequest {
  readonly mountpoint: string;
  readonly config: RepositoryConfig;
  readonly serverUid: number;
  readonly serverGid: number;
}

/** How a mount ended: the kernel has given it up; `aborted` when it is still in the mount table, where it answers errors. */
export interface Ending {
  readonly aborted: boolean;
}

/** A mount that nobody serves at the moment: its readers wait. */
export interface Unserved {
  readonly sinceMs: number;
  /** Why the last server did not start; null before one has tried. */
  readonly failure: string | null;
}

export class KeptMount {
  readonly #world: KeeperWorld;
  #record: MountRecord;
  #fuseFd: number;
  #server: ServerProcess | null = null;
  #restarts = 0;
  #unserved: Unserved | null = null;
  /** The server has been told to serve, and lives. */
  #serving = false;
  #over = false;
  /** Who waits for the next server. */
  #awaited: Array<(outcome: ServerProcess | Failure) => void> = [];
  readonly #whenOver: (ending: Ending) => void;
  /** Ends when the mount is gone and nothing of it is left. */
  readonly over: Promise<Ending>;

  private constructor(world: KeeperWorld, record: MountRecord, fuseFd: number) {
    this.#world = world;
    this.#record = record;
    this.#fuseFd = fuseFd;
    let resolve: (ending: Ending) => void = () => undefined;
    this.over = new Promise((done) => (resolve = done));
    this.#whenOver = resolve;
  }

  get record(): MountRecord {
    return this.#record;
  }

  get serverPid(): number | null {
    return this.#server?.identity.pid ?? null;
  }

  /** Null while a server reads its requests, as far as the keeper knows. */
  get unserved(): Unserved | null {
    return this.#unserved;
  }

  /** What the program of the server says of itself; null while there is none. */
  get serverVersion(): string | null {
    return this.#server?.version ?? null;
  }

  /** True when the mount is gone, or was let go. */
  get isOver(): boolean {
    return this.#over;
  }

  /** False while it is being made, or a server is about to serve it. */
  get isSettled(): boolean {
    return this.#over || (this.#record.phase !== 'mounting' && this.#serving);
  }

  get dir(): string {
    return mountDir(this.#world.runDir, this.#record.id);
  }

  /**
   * Makes a mount. Nothing is mounted before its server has the repository's root catalog; on failure nothing is left.
   * `known` is called as soon as others must know of it: from then on every new spare holds it too.
   */
  static async create(world: KeeperWorld, request: MountRequest, known: (mount: KeptMount) => void): Promise<KeptMount> {
    const id = crypto.randomBytes(6).toString('hex');
    const record: MountRecord = { version: 1, id, ...request, phase: 'mounting', device: '', negotiated: null, server: null };
    const mount = new KeptMount(world, record, fs.openSync('/dev/fuse', 'r+'));
    try {
      makeKeeperDirs(world.runDir);
      writeRecord(world.runDir, record);
      makeMountDir(world.runDir, record);
      known(mount);
      const server = await mount.#first();
      await server.become(id, false, READY_TIMEOUT_MS);
      mount.#mount();
      await server.serve(mount.#record.negotiated!);
      mount.#tellSpare();
      mount.#serving = true;
      world.pings.watch(id, server);
      return mount;
    } catch (error) {
      await mount.#undo();
      throw error;
    }
  }

  /**
   * Goes on with a mount of an earlier keeper, whose descriptor some living process had. `server`: the process that reads
   * its requests; null when it has died. `present`: the mount table has it, so an unmount that was begun was not done.
   */
  static adopt(world: KeeperWorld, before: MountRecord, fuseFd: number, server: ProcessIdentity | null, present: boolean): KeptMount {
    const record: MountRecord = { ...before, server, ...(present ? { phase: 'mounted' } : {}) };
    const mount = new KeptMount(world, record, fuseFd);
    mount.#update({});
    mount.#openDesk();
    if (server !== null) {
      const adopted = new AdoptedServer(server, mount.dir, world.watch);
      mount.#watch(adopted);
      mount.#serving = true;
      world.pings.watch(record.id, adopted);
    }
    return mount;
  }

  /** Starts a server for an adopted mount that has none; for the time when every mount is known to the spare. */
  resume(): void {
    if (this.#server !== null) return;
    this.#unserved = { sinceMs: Date.now(), failure: null };
    this.#handBack();
    void this.#restart();
  }

  /** Gives a standby what it needs to serve this mount. */
  async announceTo(standby: StandbyProcess): Promise<void> {
    if (this.#over) return;
    const { id, mountpoint, config, negotiated } = this.#record;
    // Copies that stay here would keep the requests of a dead server from being ended: they are closed once they are sent.
    const devices = negotiated?.resend === true ? 0 : Math.min(config.readers, DEVICES_MAX);
    await standby.announce(this.#announced(), this.#fuseFd, [
      () => envelopeDescriptor(path.join(this.#world.runDir, 'keeper'), { id, mountpoint, dir: this.dir, config }),
      ...Array.from({ length: devices }, () => () => fs.openSync('/dev/fuse', 'r+')),
    ]);
  }

  #announced(): Announced {
    const { id, config, negotiated, server } = this.#record;
    return { id, fqrn: config.fqrn, dir: this.dir, cacheDir: config.cacheDir, cacheLimitBytes: config.cacheLimitBytes, negotiated, server };
  }

  #tellSpare(): void {
    this.#world.spare.process?.update(this.#announced());
  }

  /** Ends the server, whose place the spare takes. Resolves with the successor once it serves; rejects with why it does not. */
  replace(): Promise<ServerProcess> {
    if (this.#over) return Promise.reject(this.#gone());
    const next = new Promise<ServerProcess>((resolve, reject) => this.#awaited.push((outcome) => (outcome instanceof Failure ? reject(outcome) : resolve(outcome))));
    this.#restarts = 0;
    const server = this.#server;
    if (server !== null && isAlive(server.identity)) killProcess(server.identity.pid);
    return next;
  }

  /** For the end of this keeper: nothing is done for the mount any more. Answers its descriptor, to be closed by the caller. */
  letGo(): number {
    this.#over = true;
    this.#settle(this.#gone());
    return this.#fuseFd;
  }

  #gone(): Failure {
    return new Failure('NOT_FOUND', `the mount at ${this.#record.mountpoint} is gone`);
  }

  #settle(outcome: ServerProcess | Failure): void {
    for (const tell of this.#awaited.splice(0)) tell(outcome);
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
    const { reply, negotiated } = negotiate(request.subarray(0, length), {
      maxBackground: config.maxBackground,
      maxReadaheadBytes: READAHEAD_KB * 1024,
      withoutResend: this.#world.withoutResend,
      passthrough: config.dataPath === 'passthrough',
    });
    fs.writeSync(this.#fuseFd, reply);
    const device = mountAt(readMountinfo(), mountpoint)?.device ?? '';
    // Before the record says that there is a mount: one that is recorded can be had from the store.
    this.#world.store.put(this.#record.id, this.#fuseFd);
    this.#update({ phase: 'mounted', device, negotiated });
    this.#raiseReadahead(device);
    this.#world.log.info('mounted', { repository: config.fqrn, mountpoint, device, resend: negotiated.resend });
    if (config.dataPath === 'passthrough' && !negotiated.passthrough) this.#world.log.warn('this kernel reads no files by itself (data_path = "passthrough" needs 6.9): the server does', { repository: config.fqrn });
    this.#openDesk();
  }

  /** Serves the registrations of whoever serves the mount, for as long as there is one. */
  #openDesk(): void {
    const { config, negotiated, serverUid } = this.#record;
    if (negotiated?.passthrough !== true) return;
    const { libc, log } = this.#world;
    void runBackingDesk({ libc, log, dir: this.dir, cacheDir: config.cacheDir, serverUid, fuseFd: () => (this.#over ? null : this.#fuseFd) });
  }

  /** INIT can only lower the read-ahead of 128 KiB that a mount begins with. */
  #raiseReadahead(device: string): void {
    try {
      fs.writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(READAHEAD_KB));
    } catch (error) {
      this.#world.log.warn('read-ahead of the mount stays at its default', { device, error });
    }
  }

  /**
   * The first server, for a mount that is being made: the warm spare when there is one. It is written down before it is told
   * anything, so that whoever takes the mount back knows whom to end.
   */
  async #first(): Promise<StandbyProcess> {
    const { spare, log } = this.#world;
    const { serverUid: uid, serverGid: gid } = this.#record;
    const warm = spare.ready;
    const held = spare.process;
    let standby = spare.take(uid, gid);
    if (standby === held && warm) {
      try {
        await standby.ping(SPARE_ANSWER_MS);
      } catch (error) {
        log.warn('the spare does not answer; a server is started in its place', { pid: standby.identity.pid, error });
        killProcess(standby.identity.pid);
        standby = spare.take(uid, gid);
      }
    }
    // A spare that was there before this mount has not heard of it.
    if (standby === held) await this.announceTo(standby);
    this.#watch(standby);
    this.#update({ server: standby.identity });
    return standby;
  }

  /**
   * Makes a process the next server; readers wait for it. It holds the mount from the moment that it exists, and is written
   * down only when it has been told: until then it is the spare to the next keeper, and then one that has the lock or is none.
   */
  async #succeed(standby: StandbyProcess, warm: boolean): Promise<void> {
    const { log, pings } = this.#world;
    const { id } = this.#record;
    this.#watch(standby);
    // One that is warm and does not answer is no help. It is asked before its work, and nobody waits for the answer.
    if (warm) {
      standby.ping(SPARE_ANSWER_MS).catch((error: unknown) => {
        if (this.#server !== standby) return;
        log.warn('the spare does not answer; a server is started in its place', { pid: standby.identity.pid, error });
        killProcess(standby.identity.pid);
      });
    }
    try {
      await standby.become(id, true, READY_TIMEOUT_MS, () => this.#noteServer(standby));
      this.#unserved = null;
      this.#serving = this.#server === standby;
      this.#settle(standby);
      pings.watch(id, standby);
      this.#tellSpare();
    } catch (error) {
      log.error('file system server did not start', { repository: this.#record.config.fqrn, error });
      this.#noteFailure(error);
      this.#settle(Failure.from(error));
      // One that is not ready and does not end would keep the next one from being started.
      if (this.#server === standby) killProcess(standby.identity.pid);
    }
  }

  /** With no room for the record, readers are served all the same: the next keeper finds the server by its lock. */
  #noteServer(server: StandbyProcess): void {
    try {
      this.#update({ server: server.identity });
    } catch (error) {
      this.#world.log.error('the server of a mount is not in its record', { mountpoint: this.#record.mountpoint, error });
    }
  }

  #noteFailure(error: unknown): void {
    this.#unserved = { sinceMs: this.#unserved?.sinceMs ?? Date.now(), failure: Failure.from(error).message };
  }

  #watch(server: ServerProcess): void {
    this.#server = server;
    const since = Date.now();
    void server.ended.then(({ gone }) => {
      if (this.#server !== server) return;
      this.#server = null;
      this.#serving = false;
      if (this.#over || this.#record.phase === 'mounting') return;
      if (gone) this.#finish();
      else {
        this.#unserved ??= { sinceMs: Date.now(), failure: null };
        this.#handBack();
        if (Date.now() - since > STABLE_MS) this.#restarts = 0;
        void this.#restart();
      }
    });
  }

  /**
   * The requests that a dead server had taken become requests that nobody has read. Its successor does the same, but the
   * processes behind them can be killed only from then on, and the successor may be long in coming.
   */
  #handBack(): void {
    if (this.#record.negotiated?.resend !== true) return;
    try {
      fs.writeSync(this.#fuseFd, resendNotification());
    } catch (error) {
      // Unmounted in this moment.
      this.#world.log.debug('requests were not handed back', { error });
    }
  }

  async #restart(): Promise<void> {
    const late = this.#restarts - RESTARTS_AT_ONCE;
    const delay = late < 0 ? 0 : Math.floor(Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * RESTART_DELAY_GROWTH ** late));
    this.#restarts += 1;
    const { config, serverUid, serverGid } = this.#record;
    const { log, spare, libc } = this.#world;
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    if (this.#over) return;
    // Unmounted by somebody else while no server was there to see it: nobody would ever succeed.
    if (libc.hasError(this.#fuseFd)) return this.#finish();
    try {
      const warm = spare.ready;
      const standby = spare.take(serverUid, serverGid);
      const served = this.#succeed(standby, warm);
      log.warn('file system server ended; another takes over', { repository: config.fqrn, delayMs: delay, warm, pid: standby.identity.pid });
      await served;
    } catch (error) {
      log.error('no file system server could be started', { repository: config.fqrn, error });
      this.#noteFailure(error);
      this.#settle(Failure.from(error));
      void this.#restart();
    } finally {
      spare.again();
    }
  }

  /** The kernel has given the mount up: forget it. */
  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#settle(this.#gone());
    const { id, config, mountpoint, device, phase } = this.#record;
    this.#world.pings.forget(id);
    this.#world.spare.process?.forget(id);
    this.#world.store.remove(id);
    fs.closeSync(this.#fuseFd);
    this.#fuseFd = -1;
    const there = mountAt(readMountinfo(), mountpoint);
    const aborted = phase !== 'mounting' && there?.type === FUSE_TYPE && there.device === device;
    if (!aborted) {
      removeMountDir(this.#world.runDir, id, this.#world.log);
      removeRecord(this.#world.runDir, id);
    }
    this.#world.log.info(aborted ? 'the kernel has aborted a mount' : 'mount is gone', { repository: config.fqrn, mountpoint });
    this.#whenOver({ aborted });
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
      const fd = openInside(path.join(this.dir, 'server.log'), this.#record.serverUid);
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

/** Takes back a mount that an earlier keeper had begun to make; whoever asked for it was told that it failed. */
export function takeBack(world: KeeperWorld, record: MountRecord): void {
  if (record.server !== null && isAlive(record.server)) killProcess(record.server.pid);
  const there = mountAt(readMountinfo(), record.mountpoint);
  if (there?.type === FUSE_TYPE && there.source.toString() === record.config.fqrn) unmountPath(world.libc, record.mountpoint, true);
  removeMountDir(world.runDir, record.id, world.log);
  removeRecord(world.runDir, record.id);
  world.log.warn('a mount that was begun was taken back', { repository: record.config.fqrn, mountpoint: record.mountpoint });
}
