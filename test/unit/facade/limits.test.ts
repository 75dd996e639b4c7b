import { KeyedLock, PerHour, Slots } from '../../../provisioner/facade/rate';
import { admitted } from '../../../provisioner/facade/secret';
import { Failure } from '../../../src/error';

const never = new AbortController().signal;

describe('limits of the facade', () => {
  it('let so many events through in any hour', () => {
    let now = 0;
    const rate = new PerHour(2, () => now);
    rate.take('links');
    now = 1_000_000;
    rate.take('links');
    expect(() => rate.take('links')).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED', data: { retryAfterS: 2600 } }));
    now = 3_600_000;
    rate.take('links');
    expect(() => rate.take('links')).toThrow('2 links within an hour');
  });

  it('let so many works run and so many wait, in their order, and forget who gives up', async () => {
    const slots = new Slots(1, 2, 'works');
    const done: string[] = [];
    const ends: Array<() => void> = [];
    const work = (name: string) => async (): Promise<void> => {
      await new Promise<void>((resolve) => ends.push(resolve));
      done.push(name);
    };
    const first = slots.run(never, work('first'));
    const leaving = new AbortController();
    const left = slots.run(leaving.signal, work('left'));
    const second = slots.run(never, work('second'));
    await expect(slots.run(never, work('too many'))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    leaving.abort(new Failure('DEADLINE_EXCEEDED', 'late'));
    await expect(left).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    ends.shift()!();
    await first;
    await new Promise((resolve) => setImmediate(resolve));
    ends.shift()!();
    await second;
    expect([done, slots.busy]).toEqual([['first', 'second'], 0]);
    await expect(slots.run(AbortSignal.abort(new Failure('CANCELLED', 'gone')), work('none'))).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('do one thing at a time for each key, also after one that failed', async () => {
    const lock = new KeyedLock();
    const seen: string[] = [];
    const slow = lock.run('a', async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      seen.push('a1');
      throw new Error('failed');
    });
    const next = lock.run('a', async () => void seen.push('a2'));
    await lock.run('b', async () => void seen.push('b'));
    await expect(slow).rejects.toThrow('failed');
    await next;
    expect(seen).toEqual(['b', 'a1', 'a2']);
  });
});

describe('the secret of the facade', () => {
  const secret = 'abcdefghijklmnopqrstuvwxyz';
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

  it('lets in, with credentials for a registry or without', () => {
    expect(admitted(basic(`mesos-cvmfs:${secret}`), secret)).toEqual({});
    expect(admitted(basic(`alice:${secret}:a:b`), secret)).toEqual({ credentials: { user: 'alice', password: 'a:b' } });
    expect(admitted(`basic ${Buffer.from(`mesos-cvmfs:${secret}`).toString('base64')}`, secret)).toEqual({});
  });

  it.each([undefined, '', 'Basic', basic(''), basic(secret), basic(`:${secret}x`), basic(`mesos-cvmfs:${secret}:`), basic(`alice:${secret}`), basic(`alice:x${secret}:p`), `Bearer ${secret}`])('lets nobody else in: %p', (header) => {
    expect(admitted(header, secret)).toBeUndefined();
  });
});
