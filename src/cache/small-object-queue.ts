/**
 * Small objects on their way to the batch executor: whatever gathers while one batch is under way goes as the next, so
 * that a single object waits for nobody and a thousand share transactions. An object that nobody waits for lets others
 * catch up with it for a few milliseconds: from far away objects come one at a time, and a batch of one costs as much as
 * one of ten.
 */
import { Failure } from '../error';
import type { SmallObject, StoreResult } from './store';
import type { BatchExecutor } from './unpack-executor';

const MAX_BATCH_OBJECTS = 64;
const MAX_BATCH_BYTES = 4 << 20;
const MAX_QUEUED_OBJECTS = 4096;
/** What nobody waits for stays so long at most before its batch begins. */
const GATHER_MS = 8;

interface Waiting {
  readonly object: SmallObject;
  readonly resolve: (result: StoreResult) => void;
  readonly reject: (reason: unknown) => void;
}

export class SmallObjectQueue {
  private waiting: Waiting[] = [];
  private bytes = 0;
  /** Somebody waits for one of `waiting`. */
  private urgent = false;
  private running: Promise<void> | undefined;
  private gathering: NodeJS.Timeout | undefined;

  constructor(
    private readonly executor: BatchExecutor,
    private readonly now: () => number,
  ) {}

  /** `lazy`: nobody waits for it. */
  store(object: SmallObject, lazy = false): Promise<StoreResult> {
    if (this.waiting.length >= MAX_QUEUED_OBJECTS) {
      return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${MAX_QUEUED_OBJECTS} objects wait for the cache`, { next: 'ask for fewer objects at once' }));
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ object, resolve, reject });
      this.bytes += object.stored.length;
      if (!lazy) this.urgent = true;
      this.next();
    });
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.waiting.length > 0 || this.running !== undefined) {
      this.urgent = true;
      this.next();
      await this.running;
    }
  }

  /** Begins a batch, now or when some more have come. */
  private next(): void {
    if (this.running !== undefined || this.waiting.length === 0) return;
    if (this.urgent || this.waiting.length >= MAX_BATCH_OBJECTS || this.bytes >= MAX_BATCH_BYTES) {
      clearTimeout(this.gathering);
      this.gathering = undefined;
      this.running = this.run();
    } else {
      this.gathering ??= setTimeout(() => {
        this.gathering = undefined;
        this.urgent = true;
        this.next();
      }, GATHER_MS);
    }
  }

  private async run(): Promise<void> {
    // Objects that were handed in within the same turn of the loop go together.
    await Promise.resolve();
    const batch = this.takeBatch();
    try {
      const results = await this.executor.run(batch.map((entry) => entry.object), this.now());
      batch.forEach((entry, at) => entry.resolve(results[at]!));
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    }
    this.running = undefined;
    this.next();
  }

  private takeBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { object } of this.waiting) {
      if (count > 0 && (count === MAX_BATCH_OBJECTS || bytes + object.stored.length > MAX_BATCH_BYTES)) break;
      bytes += object.stored.length;
      count++;
    }
    const batch = this.waiting.splice(0, count);
    this.bytes -= bytes;
    // What stays behind may have somebody who waits for it.
    this.urgent &&= this.waiting.length > 0;
    return batch;
  }
}
