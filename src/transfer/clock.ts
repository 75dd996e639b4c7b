/** Time as the transfer room needs it, passed in so that a test does not wait for back-offs and reset timers. */
export interface Clock {
  /** Milliseconds since the epoch, and never running backwards: reset timers are differences of two of these. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export function systemClock(): Clock {
  return {
    // Date.now() jumps when somebody sets the clock; a jump must not restore a dead proxy or expire a deadline.
    now: () => performance.timeOrigin + performance.now(),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason);
        const aborted = (): void => {
          clearTimeout(timer);
          reject(signal!.reason);
        };
        const timer = setTimeout(() => {
          signal?.removeEventListener('abort', aborted);
          resolve();
        }, ms);
        signal?.addEventListener('abort', aborted, { once: true });
      }),
  };
}
