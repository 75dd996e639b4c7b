/** Bytes at a rate, with a clock that only moves when somebody sleeps. */
import { Pace } from '../../../src/fuse/server/pace';

class Clock {
  now = 1000;
  readonly slept: number[] = [];
  readonly nowMs = (): number => this.now;
  readonly sleep = (ms: number): Promise<void> => {
    this.slept.push(ms);
    this.now += ms;
    return Promise.resolve();
  };
}

const never = new AbortController().signal;

describe('a rate of bytes', () => {
  it('is kept over many takes, whatever their sizes', async () => {
    const clock = new Clock();
    const pace = new Pace(1_000_000, clock);
    for (const bytes of [500_000, 0, 250_000, 3_000_000, 250_000]) await pace.take(bytes, never);
    expect(clock.now - 1000).toBe(3750);
    await pace.take(1, never);
    expect(clock.now - 1000).toBe(4000);
  });

  it('saves nothing up in a pause', async () => {
    const clock = new Clock();
    const pace = new Pace(1000, clock);
    await pace.take(1000, never);
    clock.now += 60_000;
    await pace.take(1000, never);
    await pace.take(1000, never);
    expect(clock.slept).toEqual([1000]);
  });

  it('without a limit nobody waits', async () => {
    const clock = new Clock();
    const pace = new Pace(0, clock);
    for (let n = 0; n < 10; n++) await pace.take(1e12, never);
    expect(clock.slept).toEqual([]);
  });

  it('a long wait is made of short ones and ends when nobody wants it any more', async () => {
    const clock = new Clock();
    const abort = new AbortController();
    const pace = new Pace(1, { nowMs: clock.nowMs, sleep: async (ms) => {
      await clock.sleep(ms);
      if (clock.slept.length === 3) abort.abort();
    } });
    await pace.take(1_000_000, abort.signal);
    await pace.take(1, abort.signal);
    expect(clock.slept).toEqual([10_000, 10_000, 10_000]);
  });
});
