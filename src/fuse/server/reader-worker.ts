/**
 * A reader worker: a thread that blocks in read(2) on a device of the mount and answers at once all that is local. What
 * is not goes to the main thread as a copy of the request. It never inflates, hashes or waits for anything else.
 *
 * It begins without a mount: it rehearses (rehearsal.ts) until it is told what to read, by one message.
 *
 * A thread blocked in read(2) cannot be stopped: the process ends only by SIGKILL (see file-system-server.ts).
 */
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { Failure } from '../../error';
import { Missing } from '../../repository/missing';
import type { ObjectNeed } from '../../repository/missing';
import { monotonicMs } from '../../repository/shared-state';
import { IN_HEADER_BYTES, Op, readOffset, REQUEST_BUFFER_BYTES } from '../kernel/protocol';
import { AskMain } from '../file-system';
import { Engine } from './engine';
import { OpenTable } from './open-table';
import { ReadLog } from './speculation/read-log';
import type { ThreadSetup, ThreadTree } from './thread-tree';
import { openThreadTree } from './thread-tree';
import { warmUp } from './warm-up';

/** What a worker is started with. */
export interface WorkerStart {
  /** One number: not 0 when the rehearsal is to end because somebody waits. */
  readonly wanted: SharedArrayBuffer;
}

/** What a worker is told: to rehearse, at most once, and then to read. */
export type WorkerTask = { readonly kind: 'rehearse'; readonly rehearsal: Rehearsal } | { readonly kind: 'read'; readonly setup: ReaderSetup };

/** A made-up mount (rehearsal.ts), and for how long it is read. */
export interface Rehearsal extends ThreadSetup {
  readonly ms: number;
}

export interface ReaderSetup extends ThreadSetup {
  /** What requests are read from, and their replies written to. */
  readonly device: number;
  readonly noOpendir: boolean;
  /** The table of open files (open-table.ts); null when the kernel opens nothing. */
  readonly opens: SharedArrayBuffer | null;
  /** Requests taken from the kernel, by opcode, of all workers. */
  readonly taken: SharedArrayBuffer;
  /** Requests that this worker has taken, and those that it is done with; both begin anew after 2^32. */
  readonly progress: Int32Array;
  /** Where reads are noted (speculation/read-log.ts); null: nowhere. */
  readonly readLog: SharedArrayBuffer | null;
}

/** What a worker tells the main thread. */
export type ReaderMessage =
  /** A request that this thread cannot answer, and where its reply goes. */
  | { readonly kind: 'request'; readonly request: Uint8Array; readonly device: number }
  /** Objects read since the last time, for the order of eviction. */
  | { readonly kind: 'touched'; readonly names: readonly string[] }
  /** Something is in the read log. */
  | { readonly kind: 'read' }
  /** The kernel has given the mount up. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'rehearsed' }
  /** A catalog that has to be read through SQLite, slowly. */
  | { readonly kind: 'unfamiliar'; readonly what: string; readonly why: string }
  | { readonly kind: 'broken'; readonly failure: ReturnType<Failure['toJSON']> };

/** Names of objects read are reported this often at most. */
const TOUCH_INTERVAL_MS = 5_000;
/** After so many requests V8 is told to collect (some 10 ms, at TOUCH_INTERVAL_MS at most): by itself it lets 5 MB of what is dead lie in each worker. */
const TIDY_REQUESTS = 4_096;
/** The reader gets its errno at once for these; everything else deserves the main thread's second look. */
const PLAIN_ANSWERS = new Set(['NOT_FOUND', 'NOT_A_DIRECTORY', 'INVALID_ARGUMENT']);

function workerEngine(setup: ThreadSetup, { tree, objects, shared }: ThreadTree, noOpendir: boolean, opens: SharedArrayBuffer | null): Engine {
  return new Engine({
    tree,
    shared,
    now: monotonicMs,
    noOpendir,
    openTable: opens === null ? null : new OpenTable(shared, opens),
    opener: null,
    magicEverywhere: setup.config.magicXattrs === 'always',
    main: null,
    objects: {
      read(need: ObjectNeed, into, at, offset, length) {
        const fd = objects.open(need, need.plainSize);
        if (fd === null || fd === 'unverified') throw new Missing(need);
        return fs.readSync(fd, into, at, length, offset);
      },
    },
  });
}

/** Reads a made-up mount until its time is over or somebody waits; whatever fails there fails nobody. */
function rehearse(rehearsal: Rehearsal, wanted: Int32Array): void {
  try {
    const thread = openThreadTree(rehearsal, () => undefined);
    const untilMs = monotonicMs() + rehearsal.ms;
    warmUp(workerEngine(rehearsal, thread, true, null), () => Atomics.load(wanted, 0) !== 0 || monotonicMs() >= untilMs);
    thread.objects.close();
    thread.catalogs.close();
  } catch {
    // The first real request will say what is wrong.
  }
}

function run(setup: ReaderSetup, tell: (message: ReaderMessage) => void): void {
  const thread = openThreadTree(setup, (what, why) => tell({ kind: 'unfamiliar', what, why }));
  const { objects, catalogs } = thread;
  const taken = new Uint32Array(setup.taken);
  const { progress } = setup;
  const engine = workerEngine(setup, thread, setup.noOpendir, setup.opens);
  const readLog = setup.readLog === null ? null : new ReadLog(setup.readLog);
  const buffer = Buffer.alloc(REQUEST_BUFFER_BYTES);
  const collect = (globalThis as { gc?: () => void }).gc;
  let touchedAt = monotonicMs();
  let untidy = 0;

  for (;;) {
    let length: number;
    try {
      length = fs.readSync(setup.device, buffer);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // ENOENT: the request was interrupted before it was read.
      if (code === 'EINTR' || code === 'EAGAIN' || code === 'ENOENT') continue;
      if (code === 'ENODEV') return tell({ kind: 'gone' });
      throw error;
    }
    Atomics.add(progress, 0, 1);
    const request = buffer.subarray(0, length);
    if (length >= IN_HEADER_BYTES) Atomics.add(taken, Math.min(request.readUInt32LE(4), taken.length - 1), 1);
    let replyLength: number | null;
    try {
      replyLength = engine.answer(request);
      if (readLog !== null && request.readUInt32LE(4) === Op.READ && noteRead(readLog, request)) tell({ kind: 'read' });
    } catch (error) {
      if (error instanceof Failure && PLAIN_ANSWERS.has(error.code)) replyLength = engine.fail(request, error.errno);
      else {
        if (!(error instanceof Missing) && !(error instanceof AskMain) && !(error instanceof Failure)) tell({ kind: 'broken', failure: Failure.from(error).toJSON() });
        tell({ kind: 'request', request: Uint8Array.prototype.slice.call(request), device: setup.device });
        replyLength = null;
      }
    }
    if (replyLength !== null && replyLength > 0) {
      try {
        writeReply(setup.device, engine.reply, replyLength);
      } catch (error) {
        // A reply that the kernel refuses must not take the server down: whoever asks again would do it again and again.
        tell({ kind: 'broken', failure: Failure.from(error, `the reply to opcode ${request.readUInt32LE(4)}`).toJSON() });
        tryWriteError(setup.device, engine, request);
      }
    }
    Atomics.add(progress, 1, 1);
    catalogs.closeRetired();
    untidy += 1;
    const now = monotonicMs();
    if (now - touchedAt > TOUCH_INTERVAL_MS) {
      touchedAt = now;
      const names = objects.drainTouched();
      if (names.length > 0) tell({ kind: 'touched', names });
      if (untidy > TIDY_REQUESTS) {
        untidy = 0;
        collect?.();
      }
    }
  }
}

/** True when the main thread has to be woken. */
function noteRead(readLog: ReadLog, request: Buffer): boolean {
  return readLog.note(request.readUInt32LE(20), request.readUInt32LE(16), readOffset(request));
}

/** Writes a reply; one that nobody waits for any more is no error. */
export function writeReply(device: number, reply: Buffer, length: number): void {
  try {
    fs.writeSync(device, reply, 0, length);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'ENODEV' && code !== 'EINTR') throw error;
  }
}

/** For a request that the kernel still holds although it refused its reply; for most it has given the reader EIO by itself. */
function tryWriteError(device: number, engine: Engine, request: Buffer): void {
  try {
    writeReply(device, engine.reply, engine.fail(request, constants.errno.EIO));
  } catch {
    // Nobody is left to be told.
  }
}

const port = parentPort;
if (port !== null) {
  const { wanted } = workerData as WorkerStart;
  port.on('message', (task: WorkerTask) => {
    if (task.kind === 'read') return run(task.setup, (message) => port.postMessage(message));
    rehearse(task.rehearsal, new Int32Array(wanted));
    port.postMessage({ kind: 'rehearsed' } satisfies ReaderMessage);
  });
}
