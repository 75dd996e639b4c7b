import type { LookupAddress } from 'node:dns';
import { cachedLookup } from '../../../src/transfer/host-lookup';
import { fakeClock } from '../../support/fake-clock';

const ask = (lookup: ReturnType<typeof cachedLookup>, name: string) =>
  new Promise<unknown>((resolve, reject) => lookup(name, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error))));

describe('host lookup', () => {
  const one: LookupAddress[] = [{ address: '192.0.2.1', family: 4 }];

  it('asks once for many connections, and again after a minute', async () => {
    const clock = fakeClock();
    const resolve = jest.fn(async () => one);
    const lookup = cachedLookup(clock, resolve);
    expect(await Promise.all([ask(lookup, 'squid'), ask(lookup, 'squid')])).toEqual([one, one]);
    await ask(lookup, 'squid');
    expect(resolve).toHaveBeenCalledTimes(1);
    clock.advance(60_000);
    await ask(lookup, 'squid');
    expect(resolve).toHaveBeenCalledTimes(2);
  });

  it('goes on with the last answer while the resolver is down, and fails for a name it never knew', async () => {
    const clock = fakeClock();
    let down = false;
    const lookup = cachedLookup(clock, async () => {
      if (down) throw Object.assign(new Error('no answer'), { code: 'EAI_AGAIN' });
      return one;
    });
    await ask(lookup, 'squid');
    down = true;
    clock.advance(120_000);
    expect(await ask(lookup, 'squid')).toEqual(one);
    await expect(ask(lookup, 'other')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });
});
