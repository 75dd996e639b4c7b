/**
 * How many background requests a place gets at once: as many as keep the wire full, and no more. What fits into one round
 * trip grows with the round trip: a server on the same host is kept busy by a dozen requests, one 20 ms away by sixty.
 * More would only wait there, in the way of a demanded one.
 *
 * The round trip is the least time from a request to its answer's first byte, since queues and busy servers only add to
 * it; the least of one to two minutes, so that a way that has become longer is noticed.
 */
import type { Clock } from './clock';

const REQUESTS_PER_MS = 3;
const LEAST_REQUESTS = 12;
const WINDOW_MS = 60_000;

export class Pace {
  private least = Infinity;
  private leastBefore = Infinity;
  private since: number;

  constructor(private readonly clock: Clock) {
    this.since = clock.now();
  }

  /** An answer began so long after its request. */
  answered(ms: number): void {
    const now = this.clock.now();
    if (now - this.since >= WINDOW_MS) {
      this.leastBefore = this.least;
      this.least = Infinity;
      this.since = now;
    }
    if (ms < this.least) this.least = ms;
  }

  /** Background requests at once; the fewest before the first answer. */
  requests(): number {
    const roundTripMs = Math.min(this.least, this.leastBefore);
    return Number.isFinite(roundTripMs) ? Math.max(LEAST_REQUESTS, Math.ceil(roundTripMs * REQUESTS_PER_MS)) : LEAST_REQUESTS;
  }
}
