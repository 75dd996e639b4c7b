import { Pace } from '../../../src/transfer/pace';
import { fakeClock } from '../../support/fake-clock';

describe('pace of background requests', () => {
  it('grows with the least round trip that was seen, and is small before and nearby', () => {
    const clock = fakeClock();
    const pace = new Pace(clock);
    const unknown = pace.requests();
    pace.answered(0.4);
    expect(pace.requests()).toBe(unknown);
    const far = new Pace(clock);
    far.answered(90);
    far.answered(20);
    far.answered(500);
    expect(far.requests()).toBe(60);
  });

  it('notices within two minutes that the way has become longer', () => {
    const clock = fakeClock();
    const pace = new Pace(clock);
    pace.answered(1);
    for (let minute = 0; minute < 3; minute++) {
      clock.advance(60_000);
      pace.answered(100);
    }
    expect(pace.requests()).toBe(300);
  });
});
