/**
 * A file system server's process: `node main.js <fqrn> <mount id>` (the arguments are only for whoever looks at the
 * process list) with the descriptors of envelope.ts. It opens nothing by path but its cache, its own folder and its code.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import { createDescriptorLogger, RUN_LOG_MAX_BYTES } from '../../log/descriptor-logger';
import { libc, LOCK_EX, LOCK_NB } from '../../native/libc';
import { VERSION } from '../../version';
import { listenControl } from '../control/control-server';
import { assertHost } from '../kernel/protocol';
import { controlPath } from '../keeper/server-process';
import { controlMethods } from './control-methods';
import { ENVELOPE_FD, INDEX_FD, parseEnvelope, REPORT_FD } from './envelope';
import type { Report } from './envelope';
import { FileSystemServer } from './file-system-server';

/** A predecessor that was killed gives its lock back when the kernel has taken it down, which may take a moment. */
const LOCK_WAIT_MS = 10_000;
const LOCK_POLL_MS = 5;

function report(what: Report): void {
  try {
    fs.writeSync(REPORT_FD, `${JSON.stringify(what)}\n`);
  } catch {
    // The keeper is gone; its successor will see this process end.
  }
}

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
async function lockIndex(): Promise<void> {
  for (let waited = 0; !libc().flock(INDEX_FD, LOCK_EX | LOCK_NB); waited += LOCK_POLL_MS) {
    if (waited > LOCK_WAIT_MS) throw new Failure('FAILED_PRECONDITION', 'another process serves this mount');
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}

async function main(): Promise<void> {
  assertHost();
  libc().setNoNewPrivileges();
  const envelope = parseEnvelope(fs.readFileSync(ENVELOPE_FD));
  fs.closeSync(ENVELOPE_FD);
  const log = createDescriptorLogger(2, { fileMaxBytes: RUN_LOG_MAX_BYTES, fields: { process: 'server', pid: process.pid, repository: envelope.config.fqrn } });
  const fatal = (why: string): never => {
    log.error('this file system server ends', { why });
    return die();
  };
  process.on('uncaughtException', (error) => fatal(error.stack ?? error.message));
  process.on('unhandledRejection', (reason) => fatal(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)));
  // A mount is taken down by unmounting it, not by asking its server to go: it would only be started again.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => die());

  await lockIndex();
  const server = await FileSystemServer.open(envelope, { log, die: fatal, sayGone: () => report({ gone: true }), version: VERSION, trimMemory });
  await listenControl({
    path: controlPath(envelope.dir),
    methods: controlMethods(server, server.cache),
    allowedUids: [0, process.getuid!()],
    peerCredentials: libc().peerCredentials,
    log,
  });
  report({ ready: true });
}

main().catch((error: unknown) => {
  report({ failure: Failure.from(error).toJSON() });
  die();
});
