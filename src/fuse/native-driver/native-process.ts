/**
 * The process of a mount with the fuse-native driver, as its keeper starts and watches it.
 *
 *     descriptor 3  envelope (server/envelope.ts), read to its end
 *     descriptor 5  the mount's index list, open for reading and writing
 *     descriptor 6  pipe to the keeper: one JSON line {"ready":true} or {"failure":{…}}, later {"gone":true}
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../error';
import type { ProcessWatch } from '../../native/process-watch';
import { envelopeDescriptor, NODE_OPTIONS, SERVER_ENVIRONMENT } from '../keeper/server-process';
import { isAlive, startTicks } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import type { Envelope } from '../server/envelope';

export const ENVELOPE_FD = 3;
export const REPORT_FD = 6;

const REPORT_BYTES_MAX = 64 * 1024;

/** One line of the report pipe. */
const reportShape = z.union([z.strictObject({ ready: z.literal(true) }), z.strictObject({ gone: z.literal(true) }), z.strictObject({ failure: z.unknown() })]);
export type Report = z.infer<typeof reportShape>;

export interface NativeProcess {
  readonly identity: ProcessIdentity;
  /** Its first word: null when it is ready, or why it is not. */
  readonly ready: Promise<Failure | null>;
  readonly ended: Promise<void>;
}

export interface NativeOptions {
  readonly envelope: Envelope;
  /** Folder for the envelope's temporary file, root's. */
  readonly keeperDir: string;
  readonly indexFd: number;
  readonly logFd: number;
  /** Whom it becomes once it has mounted, which needs root. */
  readonly uid: number;
  readonly gid: number;
}

export function spawnNative(options: NativeOptions): NativeProcess {
  const envelopeFd = envelopeDescriptor(options.keeperDir, options.envelope);
  const { fqrn } = options.envelope.config;
  try {
    const child = spawn(process.execPath, [...NODE_OPTIONS, path.join(__dirname, 'main.js'), fqrn, options.envelope.id, String(options.uid), String(options.gid)], {
      // A session of its own: a signal to the keeper's group, or its death, does not reach it.
      detached: true,
      cwd: '/',
      env: SERVER_ENVIRONMENT,
      stdio: ['ignore', options.logFd, options.logFd, envelopeFd, 'ignore', options.indexFd, 'pipe'],
    });
    // Told once more when there is no process to speak of.
    child.on('error', () => undefined);
    const spawned = child.pid;
    if (spawned === undefined) throw new Failure('SYSTEM', `cannot start the fuse-native driver (${process.execPath})`);
    const report = (child.stdio as readonly unknown[])[REPORT_FD] as NodeJS.ReadableStream;
    const ready = new Promise<Failure | null>((resolve, reject) => {
      let text = '';
      report.setEncoding('utf8');
      report.on('data', (chunk: string) => {
        text = (text + chunk).slice(0, REPORT_BYTES_MAX);
        for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
          const said = parseReport(text.slice(0, end));
          text = text.slice(end + 1);
          if (said !== null) resolve('failure' in said ? Failure.fromJSON(said.failure) : null);
        }
      });
      child.once('error', (error) => reject(Failure.from(error)));
      child.once('close', (code, signal) => resolve(new Failure('INTERNAL', `the fuse-native driver of ${fqrn} ended before it was ready (${signal ?? `exit code ${code}`})`, { next: 'see the log of the keeper' })));
    });
    // `close` comes after the pipe's end, so a last word is not lost.
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
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

/** One that an earlier keeper started. */
export function adoptNative(identity: ProcessIdentity, watch: ProcessWatch): NativeProcess {
  const over = watch.ended(identity.pid);
  // Looked at after the watch began, so that the number cannot have become another process' in between.
  const ended = isAlive(identity) ? over : Promise.resolve();
  return { identity, ready: Promise.resolve(null), ended };
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
