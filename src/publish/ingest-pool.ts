/**
 * The worker threads that compress and hash, so that the calling thread stays free to list, store and write catalogs.
 * Bounded on both sides: at most `workers` threads, each with at most `JOBS_PER_WORKER` jobs; who submits more waits.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import { Failure } from '../error';
import { ingest } from './ingest';
import type { IngestJob, IngestResult, Piece } from './ingest';
import { asBuffer } from './ingest-worker';
import type { WorkerAnswer, WorkerRequest } from './ingest-worker';

const MAX_WORKERS = 8;
/** More than one, so that a worker has its next small file at hand when it has done one. */
const JOBS_PER_WORKER = 4;
const WORKER_FILE = path.join(__dirname, 'ingest-worker.js');

export interface IngestPool {
  run(job: IngestJob): Promise<IngestResult>;
  close(): Promise<void>;
}

/** `workers` 0: in this thread. Default: one per CPU, or this thread where the sources were not compiled to JavaScript. */
export function createIngestPool(workers?: number): IngestPool {
  const count = workers ?? (fs.existsSync(WORKER_FILE) ? Math.min(os.availableParallelism(), MAX_WORKERS) : 0);
  if (count === 0) return { run: async (job) => ingest(job), close: async () => undefined };
  return new WorkerPool(Math.min(count, MAX_WORKERS));
}

interface Pending {
  readonly resolve: (result: IngestResult) => void;
  readonly reject: (failure: Failure) => void;
}

interface Member {
  readonly worker: Worker;
  readonly pending: Map<number, Pending>;
  readonly ended: Promise<unknown>;
}

class WorkerPool implements IngestPool {
  private readonly members: Member[];
  private readonly waiting: Array<() => void> = [];
  private sequence = 0;
  private broken: Failure | undefined;
  /** Not zero: nobody waits for results any more. */
  private readonly stop = new Int32Array(new SharedArrayBuffer(4));

  constructor(count: number) {
    this.members = Array.from({ length: count }, () => this.start());
  }

  async run(job: IngestJob): Promise<IngestResult> {
    let member = this.free();
    while (member === undefined) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
      member = this.free();
    }
    const { worker, pending } = member;
    const id = (this.sequence += 1);
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve, reject });
      const request: WorkerRequest = { id, job };
      worker.postMessage(request);
    });
  }

  async close(): Promise<void> {
    this.broken ??= new Failure('CANCELLED', 'the publish was given up');
    Atomics.store(this.stop, 0, 1);
    // Not terminate(): a thread that is cut off in a native call, or while its library loads, takes the process down.
    for (const { worker } of this.members) worker.postMessage('end' satisfies WorkerRequest);
    await Promise.all(this.members.map(({ ended }) => ended));
    this.waiting.splice(0).forEach((wake) => wake());
  }

  private free(): Member | undefined {
    if (this.broken !== undefined) throw this.broken;
    const least = this.members.reduce((a, b) => (b.pending.size < a.pending.size ? b : a));
    return least.pending.size < JOBS_PER_WORKER ? least : undefined;
  }

  private start(): Member {
    const worker = new Worker(WORKER_FILE, { workerData: this.stop });
    const member: Member = { worker, pending: new Map(), ended: new Promise((resolve) => worker.once('exit', resolve)) };
    worker.on('message', (answer: WorkerAnswer) => {
      const pending = member.pending.get(answer.id);
      member.pending.delete(answer.id);
      this.waiting.shift()?.();
      if ('failure' in answer) pending?.reject(Failure.fromJSON(answer.failure));
      else pending?.resolve(answer.changed ? { changed: true } : { changed: false, pieces: answer.pieces.map(received) });
    });
    const die = (reason: unknown): void => {
      this.broken ??= Failure.from(reason, 'a compression worker died');
      for (const pending of member.pending.values()) pending.reject(this.broken);
      member.pending.clear();
      this.waiting.splice(0).forEach((wake) => wake());
    };
    worker.on('error', die);
    worker.on('exit', () => die(new Failure('INTERNAL', 'a compression worker ended')));
    return member;
  }
}

function received(piece: Piece): Piece {
  return {
    ...piece,
    digest: asBuffer(piece.digest),
    stored: 'bytes' in piece.stored ? { bytes: asBuffer(piece.stored.bytes) } : piece.stored,
  };
}
