/**
 * The process of a mount with the fuse-native driver: `node main.js <fqrn> <mount id> <uid> <gid>` with the descriptors of
 * native-process.ts; /dev/fuse is opened by libfuse itself.
 *
 * It begins as root, since mounting needs that, and mounts before anything else: whoever looks waits. Then it becomes the
 * server's user for good, and only then opens the cache and reads what strangers publish.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import { ObjectCache } from '../../cache/object-cache';
import { createDescriptorLogger, RUN_LOG_MAX_BYTES } from '../../log/descriptor-logger';
import { libc, LOCK_EX, LOCK_NB } from '../../native/libc';
import { monotonicMs } from '../../repository/shared-state';
import { VERSION } from '../../version';
import { listenControl } from '../control/control-server';
import { controlPath } from '../control/control-path';
import { controlMethods } from '../server/control-methods';
import { INDEX_FD, readEnvelope } from '../server/envelope';
import { FileSystemServer } from '../server/file-system-server';
import { ReaderPool } from '../server/reader-pool';
import { mountNative } from './binding';
import { KEPT_MS, NativeDriver } from './driver';
import type { DriverWorld } from './driver';
import { ENVELOPE_FD, REPORT_FD } from './native-process';
import type { Report } from './native-process';

/** How often the mount is looked at: libfuse closes its descriptor when the kernel has given the mount up, and tells nobody. */
const GONE_POLL_MS = 200;

function report(what: Report): void {
  try {
    fs.writeSync(REPORT_FD, `${JSON.stringify(what)}\n`);
  } catch {
    // The keeper is gone; its successor will see this process end.
  }
}

/** SIGKILL on this process: threads of libfuse that hold requests keep any other end from coming. */
function die(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
}

/** Numbers of this process' descriptors of /dev/fuse. */
function fuseDescriptors(): string[] {
  return fs.readdirSync('/proc/self/fd').filter(isFuse);
}

function isFuse(fd: string): boolean {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}

/** Gives root up, all threads at once, for good. */
function become(uid: number, gid: number): void {
  process.setgroups!([]);
  process.setgid!(gid);
  process.setuid!(uid);
}

async function main(uid: number, gid: number): Promise<void> {
  libc().setNoNewPrivileges();
  const envelope = readEnvelope(ENVELOPE_FD);
  fs.closeSync(ENVELOPE_FD);
  const { fqrn } = envelope.config;
  const log = createDescriptorLogger(2, { fileMaxBytes: RUN_LOG_MAX_BYTES, fields: { process: 'fuse-native', pid: process.pid, repository: fqrn } });
  const fatal = (why: string): never => {
    log.error('this mount ends', { why });
    return die();
  };
  process.on('uncaughtException', (error) => fatal(error.stack ?? error.message));
  process.on('unhandledRejection', (reason) => fatal(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
  if (!libc().flock(INDEX_FD, LOCK_EX | LOCK_NB)) throw new Failure('FAILED_PRECONDITION', 'another process serves this mount');

  let serve: (world: DriverWorld) => void = () => undefined;
  const world = new Promise<DriverWorld>((resolve) => (serve = resolve));
  const driver = new NativeDriver(world);
  const seconds = KEPT_MS / 1000;
  const options = ['ro', 'nosuid', 'nodev', 'allow_other', 'default_permissions', 'use_ino', 'readdir_ino', `entry_timeout=${seconds}`, `attr_timeout=${seconds}`, `fsname=${fqrn}`, 'subtype=mesos-cvmfs'];
  await mountNative(envelope.mountpoint, options, driver.operations, driver.attributes);
  const descriptor = fuseDescriptors()[0];
  become(uid, gid);

  const server = await FileSystemServer.open(envelope, { log, fuseFd: -1, indexFd: INDEX_FD, die: fatal, sayGone: () => report({ gone: true }), version: VERSION, trimMemory: () => libc().trimMemory(), readers: new ReaderPool(fatal), devices: () => [], openCache: ({ cacheDir, cacheLimitBytes }) => ObjectCache.open({ dir: cacheDir, limitBytes: cacheLimitBytes }, { log }) });
  const files = server.serveDriver({ warnings: () => driver.warnings() });
  await listenControl({ path: controlPath(envelope.dir), methods: controlMethods(server, server.cache), allowedUids: [0, process.getuid!()], peerCredentials: libc().peerCredentials, log });
  serve({
    files,
    whenLocal: (work) => server.whenLocal(work),
    errnoOf: (failure, describe) => server.errnoOf(failure, describe),
    nowMs: monotonicMs,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  });
  report({ ready: true });
  setInterval(() => {
    if (descriptor !== undefined && isFuse(descriptor)) return;
    report({ gone: true });
    die();
  }, GONE_POLL_MS);
}

main(Number(process.argv[4]), Number(process.argv[5])).catch((error: unknown) => {
  report({ failure: Failure.from(error).toJSON() });
  die();
});
