/**
 * A rate of bytes, kept by waiting: before so many bytes are asked for, whoever asks waits until those before them have
 * had their time at the rate. Bytes that were not asked for in a pause are not saved up.
 */
export interface PaceWorld {
  /** Milliseconds that only go forward. */
  readonly nowMs: () => number;
  /** Ends early when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** One wait is not longer, so that whoever looks whether it is still wanted does so now and then. */
const WAIT_MAX_MS = 10_000;

export class Pace {
  #freeAtMs = -Infinity;

  /** @param bytesPerSecond 0: no limit. */
  constructor(
    private readonly bytesPerSecond: number,
    private readonly world: PaceWorld,
  ) {}

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.bytesPerSecond === 0) return;
    const { nowMs, sleep } = this.world;
    const startMs = Math.max(nowMs(), this.#freeAtMs);
    this.#freeAtMs = startMs + (bytes / this.bytesPerSecond) * 1000;
    for (let left = startMs - nowMs(); left > 0 && !signal.aborted; left = startMs - nowMs()) await sleep(Math.min(left, WAIT_MAX_MS), signal);
  }
}
