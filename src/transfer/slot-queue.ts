/**
 * A bounded number of slots with a bounded queue before them. Demanded work (a reader waits for it) always goes before
 * background work (prefetch), and background work never takes the last quarter of the slots: else a full prefetch, sitting
 * out its back-offs, would make every reader wait. What waits in the background and is then demanded changes queues.
 */
import { Failure } from '../error';
import type { Urgency } from './urgency';

interface Waiter {
  admit(): void;
}

/** How many of so many slots background work may have. */
export function backgroundSlots(slots: number): number {
  return slots - Math.floor(slots / 4);
}

export class SlotQueue {
  private taken = 0;
  private readonly demanded = new Set<Waiter>();
  private readonly background = new Set<Waiter>();
  private readonly backgroundSlots: number;

  constructor(
    private readonly slots: number,
    /** Waiters of either kind. */
    private readonly maxQueued: number,
    /** How many slots background work makes good use of just now. */
    private readonly pace: () => number = () => Infinity,
  ) {
    this.backgroundSlots = backgroundSlots(slots);
  }

  get inFlight(): number {
    return this.taken;
  }

  get queued(): number {
    return this.demanded.size + this.background.size;
  }

  /** Resolves to a function that gives the slot back. Throws RESOURCE_EXHAUSTED, or the signal's reason. */
  acquire(urgency: Urgency, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      let queue = urgency.background ? this.background : this.demanded;
      if (queue.size === 0 && this.free(urgency.background)) return resolve(this.take());
      if (queue.size >= this.maxQueued) {
        return reject(
          new Failure('RESOURCE_EXHAUSTED', `${queue.size} ${urgency.background ? 'background' : 'demanded'} downloads are waiting already`, { next: 'try again later' }),
        );
      }
      const aborted = (): void => {
        queue.delete(waiter);
        urgency.goes();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        admit: () => {
          signal.removeEventListener('abort', aborted);
          urgency.goes();
          resolve(this.take());
        },
      };
      queue.add(waiter);
      signal.addEventListener('abort', aborted, { once: true });
      urgency.waits(() => {
        if (!queue.delete(waiter)) return;
        // Beyond `maxQueued` when it must be: it was let in once, and a reader is not turned away for being promoted.
        queue = this.demanded;
        queue.add(waiter);
        this.admitNext();
      });
    });
  }

  private free(background: boolean): boolean {
    return background ? this.demanded.size === 0 && this.taken < Math.min(this.backgroundSlots, this.pace()) : this.taken < this.slots;
  }

  private take(): () => void {
    this.taken += 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.taken -= 1;
      // The next turn: by then the failure of whoever leaves has moved the shared choice, and its connection is free again.
      if (this.queued > 0) setImmediate(() => this.admitNext());
    };
  }

  private admitNext(): void {
    for (const [queue, background] of [[this.demanded, false], [this.background, true]] as const) {
      // A Set iterates in the order of insertion: first come, first served, and an aborted waiter leaves in O(1).
      for (const waiter of queue) {
        if (!this.free(background)) return;
        queue.delete(waiter);
        waiter.admit();
      }
    }
  }
}
