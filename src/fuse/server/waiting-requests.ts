/**
 * Requests that the main thread holds because they wait for the network, and the interrupts that may end their wait. An
 * interrupt can overtake its request, since the two may come from different workers; so early ones are remembered briefly.
 */
import { LRUCache } from 'lru-cache';

const EARLY_INTERRUPTS_MAX = 1_024;
const EARLY_INTERRUPT_MS = 2_000;

export class WaitingRequests {
  readonly #waiting = new Map<string, AbortController>();
  readonly #early: LRUCache<string, true>;

  constructor() {
    this.#early = new LRUCache({ max: EARLY_INTERRUPTS_MAX, ttl: EARLY_INTERRUPT_MS });
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Runs `work` with a signal that an interrupt of this request fires. */
  async during<T>(unique: string, work: (interrupted: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    if (this.#early.delete(unique)) controller.abort();
    this.#waiting.set(unique, controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#waiting.delete(unique);
    }
  }

  interrupt(unique: string): void {
    const controller = this.#waiting.get(unique);
    if (controller === undefined) this.#early.set(unique, true);
    else controller.abort();
  }
}
