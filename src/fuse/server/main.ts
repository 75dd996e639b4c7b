/**
 * The main thread of a file system server's process, from its beginning as a standby (start.ts). It opens nothing by path
 * but its cache, its mount's folder, `<run_dir>/spare-<uid>` and its code.
 */
import '../../config/english-only';
import * as fs from 'node:fs';
import { Socket } from 'node:net';
import * as path from 'node:path';
import { Failure } from '../../error';
import { ObjectCache } from '../../cache/object-cache';
import type { RepositoryConfig } from '../../config/repository-config';
import { createDescriptorLogger, RUN_LOG_MAX_BYTES } from '../../log/descriptor-logger';
import type { Logger } from '../../log/logger';
import { descriptorSocket } from '../../native/descriptor-socket';
import { libc, LOCK_EX, LOCK_NB } from '../../native/libc';
import { createProcessWatch } from '../../native/process-watch';
import { VERSION } from '../../version';
import { Channel } from '../control/channel';
import { listenControl } from '../control/control-server';
import { controlPath, spareDir } from '../control/control-path';
import { assertHost } from '../kernel/protocol';
import { startTicks } from '../process-identity';
import { controlMethods } from './control-methods';
import { becomeShape, CHANNEL_FD, checkHello, FUSE_FD, INDEX_FD, PROTOCOL, readEnvelope } from './envelope';
import { FileSystemServer } from './file-system-server';
import { removeSpare, writeServer } from './holder';
import { rehearseMain } from './main-rehearsal';
import type { ReaderPool } from './reader-pool';
import { makeRehearsal } from './rehearsal';
import { requestDevices } from './request-devices';
import { openOwn, Standby } from './standby';
import type { HeldMount } from './standby';

/** A predecessor that was killed gives its lock back when the kernel has taken it down, which may take a moment. */
const LOCK_WAIT_MS = 10_000;
const LOCK_POLL_MS = 2;
const REHEARSAL_MS = 1_000;
/** More than the made-up objects take. */
const REHEARSAL_CACHE_BYTES = 16 << 20;
const LISTEN_RETRY_MS = 1_000;
/** Caches that a standby opens before it knows which mount it will serve; one host has one or two. */
const PREPARED_CACHES_MAX = 2;

/**
 * Buffers outside V8's heap do not make it collect before there are 64 MiB of them, and malloc keeps what was freed: both
 * are told to let go. Some 15 ms on the main thread, on which no local request waits.
 */
function trimMemory(): void {
  (globalThis as { gc?: () => void }).gc?.();
  libc().trimMemory();
}

/** SIGKILL on this process, the one way to end it (file-system-server.ts). */
function die(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
}

/** Exactly one process reads a mount's requests: the holder of this lock. */
async function lockIndex(fd: number): Promise<void> {
  const giveUpAt = Date.now() + LOCK_WAIT_MS;
  while (!libc().flock(fd, LOCK_EX | LOCK_NB)) {
    if (Date.now() > giveUpAt) throw new Failure('FAILED_PRECONDITION', 'another process serves this mount');
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}

/** Opened before they are needed: that takes a write to the disk. */
class Caches {
  readonly #open = new Map<string, Promise<ObjectCache>>();

  constructor(private readonly log: Logger) {}

  prepare(dir: string, limitBytes: number): void {
    if (this.#open.size < PREPARED_CACHES_MAX) void this.open(dir, limitBytes).catch((error: unknown) => this.log.warn('a cache could not be opened early', { dir, error }));
  }

  /** One whose folder was removed since, or its index set aside, is opened anew. */
  async open(dir: string, limitBytes: number): Promise<ObjectCache> {
    const key = `${limitBytes} ${dir}`;
    const opened = await this.#opening(dir, limitBytes, key);
    if (!opened.isReplaced()) return opened;
    this.#open.delete(key);
    return this.#opening(dir, limitBytes, key);
  }

  #opening(dir: string, limitBytes: number, key: string): Promise<ObjectCache> {
    let opening = this.#open.get(key);
    if (opening === undefined) {
      opening = ObjectCache.open({ dir, limitBytes }, { log: this.log });
      this.#open.set(key, opening);
      // What keeps it from being opened now may be over by the time it is needed.
      opening.catch(() => this.#open.delete(key));
    }
    return opening;
  }
}

/** `readers` have been started; what is wrong with them is `whenFatal`'s to hear. */
export function runServer(runDir: string, readers: ReaderPool, whenFatal: (fatal: (why: string) => never) => void): void {
  assertHost();
  libc().setNoNewPrivileges();
  const fields: { process: string; pid: number; repository?: string } = { process: 'spare', pid: process.pid };
  // Descriptor 2 becomes the log of the mount that is served.
  const log = createDescriptorLogger(2, { fileMaxBytes: RUN_LOG_MAX_BYTES, fields });
  const fatal = (why: string): never => {
    log.error('this process ends', { why });
    return die();
  };
  process.on('uncaughtException', (error) => fatal(error.stack ?? error.message));
  process.on('unhandledRejection', (reason) => fatal(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)));
  // A mount is taken down by unmounting it, not by asking its server to go: it would only be started again.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => die());

  whenFatal(fatal);
  const caches = new Caches(log);
  const watch = createProcessWatch();
  const standby = new Standby({ libc: libc(), sockets: descriptorSocket(), log, prepare: ({ cacheDir, cacheLimitBytes }) => warm && caches.prepare(cacheDir, cacheLimitBytes) });
  let warm = false;
  let orphan = false;
  let wanted = false;
  let server: FileSystemServer | null = null;

  async function become(mount: HeldMount, resend: boolean): Promise<void> {
    const { announced } = mount;
    wanted = true;
    const begun = performance.now();
    const cpu = process.cpuUsage();
    await lockIndex(mount.indexFd);
    const locked = performance.now();
    const logFd = openOwn(path.join(announced.dir, 'server.log'), fs.constants.O_WRONLY | fs.constants.O_APPEND);
    for (const target of [1, 2]) libc().duplicateTo(logFd, target);
    fs.closeSync(logFd);
    Object.assign(fields, { process: 'server', repository: announced.fqrn });
    libc().duplicateTo(mount.fuseFd, FUSE_FD);
    libc().duplicateTo(mount.indexFd, INDEX_FD);
    writeServer(announced.dir, { pid: process.pid, startTicks: startTicks(process.pid)!, fuseFd: FUSE_FD, version: VERSION });
    const opened = await FileSystemServer.open(readEnvelope(mount.envelopeFd), {
      log,
      fuseFd: FUSE_FD,
      indexFd: INDEX_FD,
      die: fatal,
      sayGone: () => channel.say('gone'),
      version: VERSION,
      trimMemory,
      readers,
      devices: (negotiated) => requestDevices(libc(), negotiated, FUSE_FD, standby.takeDevices()),
      openCache: ({ cacheDir, cacheLimitBytes }: RepositoryConfig) => caches.open(cacheDir, cacheLimitBytes),
    });
    if (announced.negotiated !== null) opened.serve({ negotiated: announced.negotiated, resend: resend && announced.negotiated.resend });
    server = opened;
    const ready = performance.now();
    const { user, system } = process.cpuUsage(cpu);
    removeSpare(announced.dir, process.pid);
    for (const fd of [mount.fuseFd, mount.indexFd, mount.envelopeFd]) fs.closeSync(fd);
    const listen = (): Promise<unknown> => listenControl({ path: controlPath(announced.dir), methods: controlMethods(opened, opened.cache), allowedUids: [0, process.getuid!()], peerCredentials: libc().peerCredentials, log });
    if (announced.negotiated === null) await listen();
    // Who serves already serves on, also where there is no room for a socket: failing here would open the mount a second time.
    else await listen().catch((error: unknown) => listenLater(listen, error));
    log.info(resend ? 'the mount was taken over' : 'the mount is opened', { lockMs: Math.round(locked - begun), openMs: Math.round(ready - locked), cpuMs: Math.round((user + system) / 1000), upMs: Math.round(begun) });
    // Without a keeper nobody else may hold the other mounts.
    if (!orphan) standby.release();
  }

  async function rehearse(): Promise<void> {
    const dir = spareDir(runDir, process.getuid!());
    const cache = await ObjectCache.open({ dir, limitBytes: REHEARSAL_CACHE_BYTES }, { log });
    const setup = makeRehearsal(dir, cache.generation);
    await Promise.all([readers.rehearse({ ...setup, ms: REHEARSAL_MS }), rehearseMain({ log, version: VERSION, setup, cache, wanted: () => wanted })]);
    const { user, system } = process.cpuUsage();
    log.info('this spare is warm', { upMs: Math.round(performance.now()), cpuMs: Math.round((user + system) / 1000) });
  }

  function listenLater(listen: () => Promise<unknown>, error: unknown): void {
    log.error('the control socket could not be made; tried again', { error });
    setTimeout(() => void listen().catch((again: unknown) => listenLater(listen, again)), LISTEN_RETRY_MS);
  }

  const channel = new Channel(new Socket({ fd: CHANNEL_FD, readable: true, writable: true }), {
    name: 'keeper',
    log,
    methods: {
      hello: (params) => {
        checkHello(params, 'keeper', 'file system server');
        return { protocol: PROTOCOL, version: VERSION };
      },
      announce: (params) => standby.announce(params),
      update: (params) => standby.update(params),
      forget: (params) => standby.forget(params),
      warm: async () => {
        warm = true;
        try {
          await rehearse();
        } catch (error) {
          log.warn('this spare is not warmed up', { error });
        }
        if (!wanted) trimMemory();
      },
      become: (params) => {
        const { id, resend } = becomeShape.parse(params);
        return become(standby.take(id), resend);
      },
      serve: (params) => {
        if (server === null) throw new Failure('FAILED_PRECONDITION', 'this process is no server yet');
        return server.serve(params);
      },
      ping: () => readers.progress(),
    },
  });
  void channel.ended.then(() => {
    orphan = true;
    return standby.guard(watch, (mount) => become(mount, true), die);
  });
}
