/**
 * Small objects on their way to the batch executor: whatever gathers while one batch is under way goes as the next, so
 * that a single object waits for nobody and a thousand share transactions.
 */
import { Failure } from '../error';
import type { SmallObject, StoreResult } from './store';
import type { BatchExecutor } from './unpack-executor';

const MAX_BATCH_OBJECTS = 64;
const MAX_BATCH_BYTES = 4 << 20;
const MAX_QUEUED_OBJECTS = 4096;

interface Waiting {
  readonly object: SmallObject;
  readonly resolve: (result: StoreResult) => void;
  readonly reject: (reason: unknown) => void;
}

export class SmallObjectQueue {
  private waiting: Waiting[] = [];
  private running: Promise<void> | undefined;

  constructor(
    private readonly executor: BatchExecutor,
    private readonly now: () => number,
  ) {}

  store(object: SmallObject): Promise<StoreResult> {
    if (this.waiting.length >= MAX_QUEUED_OBJECTS) {
      return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${MAX_QUEUED_OBJECTS} objects wait for the cache`, { next: 'ask for fewer objects at once' }));
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ object, resolve, reject });
      this.running ??= this.run();
    });
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    // Objects that were handed in within the same turn of the loop go together.
    await Promise.resolve();
    while (this.waiting.length > 0) {
      const batch = this.takeBatch();
      try {
        const results = await this.executor.run(batch.map((entry) => entry.object), this.now());
        batch.forEach((entry, at) => entry.resolve(results[at]!));
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    this.running = undefined;
  }

  private takeBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { object } of this.waiting) {
      bytes += object.stored.length;
      if (count > 0 && (count === MAX_BATCH_OBJECTS || bytes > MAX_BATCH_BYTES)) break;
      count++;
    }
    return this.waiting.splice(0, count);
  }
}
