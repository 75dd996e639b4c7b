/** Limits of the facade: how much a flood of requests may do, whoever sends it. */
import { Failure } from '../../src/error';
import { abortFailure } from '../abort';

const HOUR_MS = 3_600_000;

/** At most `max` events in any hour. */
export class PerHour {
  readonly #times: number[] = [];

  constructor(
    private readonly max: number,
    private readonly nowMs: () => number,
  ) {}

  /** Counts one, or throws RESOURCE_EXHAUSTED with `what` and when the next one is possible. */
  take(what: string): void {
    const now = this.nowMs();
    while (this.#times.length > 0 && this.#times[0]! <= now - HOUR_MS) this.#times.shift();
    if (this.#times.length >= this.max) {
      const waitS = Math.ceil((this.#times[0]! + HOUR_MS - now) / 1000);
      throw new Failure('RESOURCE_EXHAUSTED', `${this.max} ${what} within an hour, no more are made`, { next: `try again in ${waitS} s, or raise facade.max_links_per_hour`, data: { retryAfterS: waitS } });
    }
    this.#times.push(now);
  }
}

/** At most `max` works at a time; `maxWaiting` more wait in line. */
export class Slots {
  #busy = 0;
  readonly #waiting: Array<() => void> = [];

  constructor(
    private readonly max: number,
    private readonly maxWaiting: number,
    private readonly what: string,
  ) {}

  get busy(): number {
    return this.#busy;
  }

  /** RESOURCE_EXHAUSTED when the line is full; the signal's failure when it is aborted before the turn comes. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // A place is handed on, never free in between: nobody may push in.
      if (next === undefined) this.#busy--;
      else next();
    }
  }

  #enter(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(abortFailure(signal));
    if (this.#busy < this.max) {
      this.#busy++;
      return Promise.resolve();
    }
    if (this.#waiting.length >= this.maxWaiting) return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${this.max} ${this.what} are under way and ${this.maxWaiting} wait`, { next: 'try again later' }));
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        const at = this.#waiting.indexOf(enter);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(abortFailure(signal));
      };
      this.#waiting.push(enter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}

/** One work at a time for each key, in the order of their coming. */
export class KeyedLock {
  readonly #last = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return result;
  }
}
