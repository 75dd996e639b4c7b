/**
 * One file system server as its keeper sees it: a process that was started with the mount's descriptor, or one that an
 * earlier keeper started and this one watches from outside.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import { ControlClient } from '../control/control-client';
import { FUSE_FD, reportShape } from '../server/envelope';
import type { Envelope, Report } from '../server/envelope';
import { isAlive, startTicks } from './process-identity';
import type { ProcessIdentity } from './process-identity';

/** How often a process that is not our child is looked at once its control connection has ended. */
const DEATH_POLL_MS = 20;
const REPORT_BYTES_MAX = 64 * 1024;

/** A server holds little that lives long; without a small young generation V8 keeps tens of MiB of dead buffers. */
const NODE_OPTIONS = ['--max-semi-space-size=1', '--optimize-for-size', '--expose-gc'];
/** One malloc arena a thread, glibc's default, keeps what each thread once needed for ever. */
const SERVER_ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', MALLOC_ARENA_MAX: '2' };

export interface ServerProcess {
  readonly identity: ProcessIdentity;
  /** The server's first word: ready, or why not; `null` when it ended without one. */
  readonly ready: Promise<Failure | null>;
  /** Ends with the process; true when it had said that its mount is gone from the kernel. */
  readonly ended: Promise<{ readonly gone: boolean }>;
}

export interface SpawnOptions {
  /** Another program than the file system server, and what it is told beside repository and mount id. */
  readonly program?: { readonly main: string; readonly args: readonly string[] };
  readonly envelope: Envelope;
  /** Folder for the envelope's temporary file, root's. */
  readonly keeperDir: string;
  readonly fuseFd: number | 'ignore';
  readonly indexFd: number;
  readonly logFd: number;
  readonly uid: number;
  readonly gid: number;
}

export function controlPath(dir: string): string {
  return path.join(dir, 'control.sock');
}

/** A descriptor of the envelope for reading. Its file has lost its name before it has the secrets in it, whatever fails. */
function envelopeDescriptor(keeperDir: string, envelope: Envelope): number {
  const file = path.join(keeperDir, `${envelope.id}.${process.pid}.envelope`);
  fs.rmSync(file, { force: true });
  const fd = fs.openSync(file, 'wx+', 0o600);
  try {
    fs.rmSync(file);
    fs.writeFileSync(fd, JSON.stringify(envelope));
    return fs.openSync(`/proc/self/fd/${fd}`, 'r');
  } finally {
    fs.closeSync(fd);
  }
}

export function spawnServer(options: SpawnOptions): ServerProcess {
  const envelopeFd = envelopeDescriptor(options.keeperDir, options.envelope);
  try {
    const child = spawn(process.execPath, [...NODE_OPTIONS, options.program?.main ?? path.resolve(__dirname, '../server/main.js'), options.envelope.config.fqrn, options.envelope.id, ...(options.program?.args ?? [])], {
      // A session of its own: a signal to the keeper's group, or its death, does not reach the server.
      detached: true,
      cwd: '/',
      env: SERVER_ENVIRONMENT,
      uid: options.uid,
      gid: options.gid,
      stdio: ['ignore', options.logFd, options.logFd, envelopeFd, options.fuseFd, options.indexFd, 'pipe'],
    });
    // Told once more when there is no process to speak of.
    child.on('error', () => undefined);
    const spawned = child.pid;
    if (spawned === undefined) throw new Failure('SYSTEM', `cannot start a file system server (${process.execPath})`);
    const report = (child.stdio as readonly unknown[])[6] as NodeJS.ReadableStream;
    let gone = false;
    const ready = new Promise<Failure | null>((resolve, reject) => {
      let text = '';
      report.setEncoding('utf8');
      report.on('data', (chunk: string) => {
        text = (text + chunk).slice(0, REPORT_BYTES_MAX);
        for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
          const said = parseReport(text.slice(0, end));
          text = text.slice(end + 1);
          if (said === null) continue;
          if ('gone' in said) gone = true;
          resolve('failure' in said ? Failure.fromJSON(said.failure) : null);
        }
      });
      child.once('error', (error) => reject(Failure.from(error)));
      child.once('close', (code, signal) => resolve(new Failure('INTERNAL', `the file system server of ${options.envelope.config.fqrn} ended before it was ready (${signal ?? `exit code ${code}`})`, { next: 'see the log of the keeper' })));
    });
    // `close` comes after the pipe's end, so a last word is not lost.
    const ended = new Promise<{ gone: boolean }>((resolve) => child.once('close', () => resolve({ gone })));
    return { identity: { pid: spawned, startTicks: startTicks(spawned) ?? 0 }, ready, ended };
  } finally {
    fs.closeSync(envelopeFd);
  }
}

function parseReport(line: string): Report | null {
  try {
    return reportShape.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** A server that an earlier keeper started. Its control connection ends with it; then its number is asked for. */
export function adoptServer(identity: ProcessIdentity, dir: string): ServerProcess {
  const watch = async (): Promise<{ gone: boolean }> => {
    const control = await ControlClient.connect(controlPath(dir), 'file system server').catch(() => null);
    if (control !== null) {
      control.unref();
      await control.ended;
    }
    while (isAlive(identity)) await new Promise((resolve) => setTimeout(resolve, DEATH_POLL_MS).unref());
    return { gone: false };
  };
  return { identity, ready: Promise.resolve(null), ended: watch() };
}

/** The descriptor of /dev/fuse that a living server holds. */
export function fuseDescriptorOf(identity: ProcessIdentity, descriptorOf: (pid: number, fd: number) => number): number {
  const fd = descriptorOf(identity.pid, FUSE_FD);
  if (fs.fstatSync(fd).rdev !== fs.statSync('/dev/fuse').rdev) {
    fs.closeSync(fd);
    throw new Failure('FAILED_PRECONDITION', `descriptor ${FUSE_FD} of process ${identity.pid} is not /dev/fuse`);
  }
  // Between reading its number and asking it, the process may have ended and another have taken the number.
  if (isAlive(identity)) return fd;
  fs.closeSync(fd);
  throw new Failure('FAILED_PRECONDITION', `process ${identity.pid} has ended`);
}
