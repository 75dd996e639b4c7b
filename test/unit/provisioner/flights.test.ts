import { Failure } from '../../../src/error';
import { Flights } from '../../../provisioner/flights';

const never = new AbortController().signal;
const request = { key: 'k', fingerprint: 'f' };

function untilAborted(signal: AbortSignal): Promise<string> {
  return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}

describe('flights', () => {
  it('keeps a flight in the air as long as somebody waits for it', async () => {
    const flights = new Flights<string>(10);
    const first = new AbortController();
    let landed: (value: string) => void = () => undefined;
    const started = flights.start('c', request, first.signal, () => new Promise((resolve) => (landed = resolve)));
    const joined = flights.join(flights.find('c', 'k')!, never);
    first.abort(new Failure('CANCELLED', 'gone'));
    await expect(started).rejects.toMatchObject({ code: 'CANCELLED' });
    landed('rootfs');
    await expect(joined).resolves.toBe('rootfs');
    expect(flights.size).toBe(0);
  });

  it('ends a flight that nobody waits for any longer, with the reason of the last one', async () => {
    const flights = new Flights<string>(10);
    const caller = new AbortController();
    let seen: unknown;
    const started = flights.start('c', undefined, caller.signal, (signal) => untilAborted(signal).catch((err: unknown) => Promise.reject((seen = err))));
    caller.abort(new Failure('DEADLINE_EXCEEDED', 'late'));
    await expect(started).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(flights.size).toBe(0);
  });

  it('ends the flights of a container and of those nested in it, and no others', async () => {
    const flights = new Flights<string>(10);
    const all = ['c', 'c/n', 'c2'].map((container) => flights.start(container, undefined, never, untilAborted).catch((err: Failure) => err.code));
    expect(await flights.end('c', new Failure('CANCELLED', 'destroyed'))).toBe(2);
    expect(flights.containers()).toEqual(['c2']);
    await flights.end('c2', new Failure('CANCELLED', 'destroyed'));
    expect(await Promise.all(all)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED']);
  });

  it('refuses more than the limit', async () => {
    const flights = new Flights<string>(1);
    const caller = new AbortController();
    const one = flights.start('c', undefined, caller.signal, untilAborted);
    await expect(flights.start('d', undefined, never, () => Promise.resolve(''))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    caller.abort(new Failure('CANCELLED', 'enough'));
    await expect(one).rejects.toBeDefined();
  });
});
