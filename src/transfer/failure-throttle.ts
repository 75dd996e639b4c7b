/**
 * Slows down whoever fails again and again (spec 6.8): after a failed request the caller waits 32 ms, then twice as long
 * each time up to 2 s, and from the beginning after 10 s without a failure. It keeps a program that retries in a tight
 * loop from becoming a storm on the site's proxies.
 */
import type { Clock } from './clock';

const FIRST_MS = 32;
const MAX_MS = 2_000;
const RESET_AFTER_MS = 10_000;

export class FailureThrottle {
  private delayMs = FIRST_MS;
  private lastFailureAt = -Infinity;

  constructor(private readonly clock: Clock) {}

  /** Notes a failure; answers how long its caller has to wait. */
  failed(): number {
    const now = this.clock.now();
    this.delayMs = now - this.lastFailureAt >= RESET_AFTER_MS ? FIRST_MS : Math.min(MAX_MS, this.delayMs * 2);
    this.lastFailureAt = now;
    return this.delayMs;
  }
}
