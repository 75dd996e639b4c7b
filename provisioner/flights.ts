/**
 * Provisions that have begun and not ended. A second call with the same idempotency key joins the first one's flight;
 * a destroy ends the flights of its container, at once where they still wait for the network.
 */
import { Failure } from '../src/error';
import { abortFailure, abortable } from './abort';
import { isWithin } from './container-id';

export interface Flight<T> {
  readonly container: string;
  readonly request: { readonly key: string; readonly fingerprint: string } | undefined;
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

export class Flights<T> {
  readonly #flights = new Set<Flight<T>>();

  constructor(private readonly maxInFlight: number) {}

  get size(): number {
    return this.#flights.size;
  }

  within(container: string): Flight<T>[] {
    return [...this.#flights].filter((flight) => isWithin(flight.container, container));
  }

  containers(): string[] {
    return [...this.#flights].map(({ container }) => container);
  }

  find(container: string, requestKey: string): Flight<T> | undefined {
    return [...this.#flights].find((flight) => flight.container === container && flight.request?.key === requestKey);
  }

  /** Begins `work` and waits for it. RESOURCE_EXHAUSTED when too many are under way. */
  start(container: string, request: Flight<T>['request'], signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#flights.size >= this.maxInFlight) {
      return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${this.#flights.size} provisions are in flight, more are not begun`, { next: 'try again later' }));
    }
    const abort = new AbortController();
    const result = work(abort.signal);
    const flight: Flight<T> = { container, request, result, abort, waiting: 0 };
    this.#flights.add(flight);
    const landed = (): void => void this.#flights.delete(flight);
    result.then(landed, landed);
    return this.join(flight, signal);
  }

  /** Waits for a flight with a caller's own patience; when nobody waits any longer, the flight ends. */
  async join(flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.waiting++;
    try {
      return await abortable(flight.result, signal);
    } finally {
      if (--flight.waiting === 0) flight.abort.abort(signal.aborted ? abortFailure(signal) : undefined);
    }
  }

  /** Ends all flights of a container and of those nested in it, and waits until they have left nothing. Returns how many. */
  async end(container: string, reason: Failure): Promise<number> {
    const flights = this.within(container);
    for (const flight of flights) flight.abort.abort(reason);
    await Promise.allSettled(flights.map(({ result }) => result));
    return flights.length;
  }
}
