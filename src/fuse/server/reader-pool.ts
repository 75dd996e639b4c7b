/**
 * The reader workers of a process: started early, so that their code is loaded and compiled by the time somebody waits for
 * them, and set to work on a mount by one message. Once at work a worker never listens again (reader-worker.ts).
 */
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Progress } from './envelope';
import type { ReaderMessage, ReaderSetup, Rehearsal, WorkerStart, WorkerTask } from './reader-worker';

/** Workers of a standby that does not know yet which mount it will serve; `fuse.max_readers` has this default. */
export const STANDBY_READERS = 2;
const READERS_MAX = 64;
const OPCODES = 64;

export type ReaderWork = Omit<ReaderSetup, 'device' | 'taken' | 'progress'>;

interface PooledWorker {
  readonly worker: Worker;
  readonly rehearsed: Promise<void>;
}

export class ReaderPool {
  readonly #die: (why: string) => never;
  readonly #workers: PooledWorker[] = [];
  /** Requests taken from the kernel, by opcode, of all workers. */
  readonly taken = new SharedArrayBuffer(OPCODES * 4);
  /** Two numbers a worker, as in `Progress`. */
  readonly #progress = new SharedArrayBuffer(READERS_MAX * 8);
  /** Becomes 1 when workers are to stop rehearsing. */
  readonly #wanted = new SharedArrayBuffer(4);
  #reading = 0;

  constructor(die: (why: string) => never) {
    this.#die = die;
  }

  /** Starts workers, which load their code while the main thread loads its own. */
  start(): void {
    while (this.#workers.length < STANDBY_READERS) this.#start();
  }

  /** Has the workers rehearse; resolves when they have done so. */
  async rehearse(rehearsal: Rehearsal): Promise<void> {
    for (const { worker } of this.#workers) worker.postMessage({ kind: 'rehearse', rehearsal } satisfies WorkerTask);
    await Promise.all(this.#workers.map((one) => one.rehearsed));
  }

  /** Sets `count` workers to work; when there are fewer devices they share them. */
  read(count: number, work: ReaderWork, devices: readonly number[], heard: (message: ReaderMessage) => void): void {
    Atomics.store(new Int32Array(this.#wanted), 0, 1);
    const begin = ({ worker }: PooledWorker, i: number): void => {
      worker.on('message', heard);
      const setup: ReaderSetup = { ...work, device: devices[i % devices.length]!, taken: this.taken, progress: new Int32Array(this.#progress, i * 8, 2) };
      worker.postMessage({ kind: 'read', setup } satisfies WorkerTask);
    };
    const tooMany = this.#workers.splice(count);
    this.#reading = count;
    this.#workers.forEach(begin);
    // Those that are there read already.
    while (this.#workers.length < count) begin(this.#start(), this.#workers.length - 1);
    for (const { worker } of tooMany) {
      worker.removeAllListeners();
      void worker.terminate();
    }
  }

  progress(): Progress {
    const numbers = new Int32Array(this.#progress);
    return { workers: Array.from({ length: this.#reading }, (_, i) => [Atomics.load(numbers, 2 * i), Atomics.load(numbers, 2 * i + 1)]) };
  }

  #start(): PooledWorker {
    const start: WorkerStart = { wanted: this.#wanted };
    const worker = new Worker(path.join(__dirname, 'reader-worker.js'), { workerData: start, name: `reader ${this.#workers.length}`, resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 96 } });
    worker.on('error', (error) => this.#die(`reader worker: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`));
    worker.on('exit', () => this.#die('a reader worker ended'));
    const rehearsed = new Promise<void>((resolve) => worker.on('message', (message: ReaderMessage) => void (message.kind === 'rehearsed' && resolve())));
    const pooled = { worker, rehearsed };
    this.#workers.push(pooled);
    return pooled;
  }
}
