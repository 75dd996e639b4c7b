import { FailureThrottle } from '../../../src/transfer/failure-throttle';
import { fakeClock } from '../../support/fake-clock';

it('slows down repeated failures from 32 ms to 2 s, and begins again after 10 quiet seconds', () => {
  const clock = fakeClock();
  const throttle = new FailureThrottle(clock);
  expect(Array.from({ length: 8 }, () => throttle.failed())).toEqual([32, 64, 128, 256, 512, 1024, 2000, 2000]);
  clock.advance(10_000);
  expect(throttle.failed()).toBe(32);
});
