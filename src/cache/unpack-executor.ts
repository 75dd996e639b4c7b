/**
 * Who stores batches of small objects: a worker thread, started with the first batch. Inflating and hashing never happen
 * on a thread that answers a kernel's requests, and for objects this small a job each on libuv's pool costs more than the
 * work: they are gathered while a batch is under way and go together as the next one.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Failure } from '../error';
import { ObjectIndex } from './object-index';
import { storeBatch } from './store';
import { parseObjectName } from './object-name';
import type { SmallObject, StoreContext, StoreResult } from './store';
import { TempFiles } from './temp-file';

/** Runs one batch at a time; a result per object, in order. Rejects only when the thread itself died. */
export interface BatchExecutor {
  run(objects: readonly SmallObject[], now: number): Promise<StoreResult[]>;
  close(): Promise<void>;
}

/** What a worker needs to store objects, as it travels to it. */
export interface WorkerContext {
  readonly dir: string;
  readonly generation: number;
}

/** All bytes of a batch in one buffer that changes hands, instead of a copy for each object. */
export interface BatchMessage {
  readonly bytes: ArrayBuffer;
  /** Hash and compression are in the name: a `Buffer` would travel with the whole pool that it is a piece of. */
  readonly objects: ReadonlyArray<Omit<SmallObject, 'stored' | 'hash' | 'compression'> & { readonly at: number; readonly length: number }>;
  readonly now: number;
}

/** `Failure` loses its class between threads. */
export type WireResult = Exclude<StoreResult, { failure: Failure }> | { readonly failure: ReturnType<Failure['toJSON']> };

/** A thread that has had nothing to do for so long ends: it is some 10 MB. */
const IDLE_MS = 10_000;

/** The compiled thread beside this module; absent when the program runs from its TypeScript sources, as tests do. */
const WORKER_FILE = path.join(__dirname, 'unpack-worker.js');

export function defaultExecutor(context: StoreContext): BatchExecutor {
  return fs.existsSync(WORKER_FILE) ? new ThreadExecutor(context, WORKER_FILE) : new InProcessExecutor(context);
}

/** The same work on the calling thread. */
export class InProcessExecutor implements BatchExecutor {
  constructor(private readonly context: StoreContext) {}

  async run(objects: readonly SmallObject[], now: number): Promise<StoreResult[]> {
    // Batch after batch would else leave the loop no turn for anything but promises.
    await nextTurn();
    return storeBatch(this.context, objects, now);
  }

  async close(): Promise<void> {}
}

export class ThreadExecutor implements BatchExecutor {
  private worker: Worker | undefined;
  private pending: { resolve: (results: StoreResult[]) => void; reject: (reason: Failure) => void } | undefined;
  private idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly context: WorkerContext,
    private readonly file: string,
    private readonly idleMs = IDLE_MS,
  ) {}

  run(objects: readonly SmallObject[], now: number): Promise<StoreResult[]> {
    if (this.pending !== undefined) throw new Failure('INTERNAL', 'a batch of objects was given to a thread that has one');
    clearTimeout(this.idle);
    const worker = (this.worker ??= this.start());
    const total = objects.reduce((sum, object) => sum + object.stored.length, 0);
    const bytes = new Uint8Array(total);
    let at = 0;
    const described = objects.map(({ stored, checked, name, plainSize, maxPlainBytes, limitBytes }) => {
      bytes.set(stored, at);
      const from = at;
      at += stored.length;
      return { name, plainSize, maxPlainBytes, limitBytes, at: from, length: stored.length, ...(checked === true ? { checked } : {}) };
    });
    const message: BatchMessage = { bytes: bytes.buffer, objects: described, now };
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      // Only a batch under way keeps the process alive.
      worker.ref();
      worker.postMessage(message, [bytes.buffer]);
    });
  }

  async close(): Promise<void> {
    clearTimeout(this.idle);
    await this.worker?.terminate();
  }

  private start(): Worker {
    const worker = new Worker(this.file, { workerData: { dir: this.context.dir, generation: this.context.generation } satisfies WorkerContext, name: 'unpack' });
    worker.on('message', (results: WireResult[]) => {
      worker.unref();
      const pending = this.pending;
      this.pending = undefined;
      this.idle = setTimeout(() => {
        this.worker = undefined;
        void worker.terminate();
      }, this.idleMs).unref();
      pending?.resolve(results.map((result) => ('failure' in result ? { failure: Failure.fromJSON(result.failure) } : result)));
    });
    const ended = (reason: unknown): void => {
      // One that was ended for being idle is heard when its successor may have a batch already.
      if (this.worker !== worker) return;
      this.worker = undefined;
      const pending = this.pending;
      this.pending = undefined;
      pending?.reject(Failure.from(reason, 'the thread that unpacks objects ended'));
    };
    worker.on('error', ended);
    worker.on('exit', (code) => ended(new Error(`exit code ${code}`)));
    return worker;
  }
}

/** What the thread does with a batch. Its index handle is its own: SQLite handles do not travel. */
export function createBatchHandler(workerContext: WorkerContext): (message: BatchMessage) => WireResult[] {
  const { dir, generation } = workerContext;
  const context: StoreContext = { dir, generation, index: ObjectIndex.open(`${dir}/index.db`), temps: new TempFiles(`${dir}/txn`) };
  return (message) => {
    const objects = message.objects.map(({ at, length, ...rest }) => ({ ...rest, ...parseObjectName(rest.name)!, stored: new Uint8Array(message.bytes, at, length) }));
    return storeBatch(context, objects, message.now).map((result) => ('failure' in result ? { failure: result.failure.toJSON() } : result));
  };
}
