/** What one service holds and how long it waits at most; every one can be given by the configuration's owner or a test. */
export interface Limits {
  readonly maxContainers: number;
  readonly maxRootfsesPerContainer: number;
  /** Provisions that have begun and not ended; more are refused with RESOURCE_EXHAUSTED. */
  readonly maxProvisionsInFlight: number;
  /** Images that are remembered beyond those in use; the least recently used goes first. */
  readonly maxUnusedImages: number;
  readonly maxIdempotencyKeyBytes: number;
  /** One mount or unmount in a helper process, its wait in the queue included. */
  readonly mountTimeoutMs: number;
  /** A question to the file system under a root file system; who does not answer in this time may do so later. */
  readonly lookTimeoutMs: number;
  /** One word with a file system server about a hold on a view. */
  readonly holdTimeoutMs: number;
  /** Of a call whose caller sets no deadline; and the longest that is taken from a caller who does. */
  readonly defaultDeadlineMs: number;
  readonly maxDeadlineMs: number;
  /** Prefetch and Pin fetch whole images. */
  readonly prefetchDeadlineMs: number;
  /** Containers that one Recover destroys or rebuilds at a time. */
  readonly recoverParallel: number;
  /** Between two looks at what could not be removed. */
  readonly janitorMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxContainers: 10_000,
  maxRootfsesPerContainer: 64,
  maxProvisionsInFlight: 512,
  maxUnusedImages: 1000,
  maxIdempotencyKeyBytes: 128,
  mountTimeoutMs: 20_000,
  lookTimeoutMs: 3_000,
  holdTimeoutMs: 10_000,
  defaultDeadlineMs: 60_000,
  maxDeadlineMs: 600_000,
  prefetchDeadlineMs: 6 * 3_600_000,
  recoverParallel: 8,
  janitorMs: 30_000,
};
