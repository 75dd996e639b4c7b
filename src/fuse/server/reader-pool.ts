/**
 * The reader workers of a process: started early, so that their code is loaded and compiled by the time somebody waits for
 * them, and set to work on a mount by one message. Once at work a worker never listens again (reader-worker.ts).
 */
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Progress } from './envelope';
import type { ReaderMessage, ReaderSetup, Rehearsal, WorkerStart } from './reader-worker';

/** Workers of a standby that does not know yet which mount it will serve; `fuse.max_readers` has this default. */
export const STANDBY_READERS = 2;
const READERS_MAX = 64;
const OPCODES = 64;

export type ReaderWork = Omit<ReaderSetup, 'device' | 'taken' | 'progress'>;

export class ReaderPool {
  readonly #die: (why: string) => never;
  readonly #workers: Array<{ readonly worker: Worker; readonly rehearsed: Promise<void> }> = [];
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

  /** Starts workers that rehearse; resolves when they have done so. */
  async rehearse(rehearsal: Rehearsal): Promise<void> {
    while (this.#workers.length < STANDBY_READERS) this.#start(rehearsal);
    await Promise.all(this.#workers.map((one) => one.rehearsed));
  }

  /** Sets `count` workers to work; when there are fewer devices they share them. */
  read(count: number, work: ReaderWork, devices: readonly number[], heard: (message: ReaderMessage) => void): void {
    Atomics.store(new Int32Array(this.#wanted), 0, 1);
    while (this.#workers.length < count) this.#start(null);
    for (const { worker } of this.#workers.splice(count)) {
      worker.removeAllListeners();
      void worker.terminate();
    }
    this.#reading = count;
    this.#workers.forEach(({ worker }, i) => {
      worker.on('message', heard);
      worker.postMessage({ ...work, device: devices[i % devices.length]!, taken: this.taken, progress: new Int32Array(this.#progress, i * 8, 2) } satisfies ReaderSetup);
    });
  }

  progress(): Progress {
    const numbers = new Int32Array(this.#progress);
    return { workers: Array.from({ length: this.#reading }, (_, i) => [Atomics.load(numbers, 2 * i), Atomics.load(numbers, 2 * i + 1)]) };
  }

  #start(rehearsal: Rehearsal | null): void {
    const start: WorkerStart = { rehearsal, wanted: this.#wanted };
    const worker = new Worker(path.join(__dirname, 'reader-worker.js'), { workerData: start, name: `reader ${this.#workers.length}`, resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 96 } });
    worker.on('error', (error) => this.#die(`reader worker: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`));
    worker.on('exit', () => this.#die('a reader worker ended'));
    const rehearsed = new Promise<void>((resolve) => worker.on('message', (message: ReaderMessage) => void (message.kind === 'rehearsed' && resolve())));
    this.#workers.push({ worker, rehearsed });
  }
}
