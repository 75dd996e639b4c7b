/** Pings find a server that lives and does not work, and no other. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { Pings } from '../../../src/fuse/keeper/pings';
import type { Progress } from '../../../src/fuse/server/envelope';
import { silentLogger } from '../../../src/log/logger';

describe('pings', () => {
  const children: ChildProcess[] = [];
  let now = 0;
  let pings: Pings;

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate'] });
    now = 0;
    pings = new Pings({ log: silentLogger, monotonicMs: () => now });
  });

  afterEach(() => {
    pings.close();
    jest.useRealTimers();
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** A process, and what it answers; its end as a promise of the signal. */
  function watched(name: string, progress: () => Progress | null): { readonly ended: Promise<unknown>; readonly child: ChildProcess } {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    children.push(child);
    const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    pings.watch(name, {
      identity: { pid: child.pid!, startTicks: 0 },
      version: null,
      ended: ended.then(() => ({ gone: false })),
      ping: () => {
        const answer = progress();
        return answer === null ? Promise.reject(new Error('no answer')) : Promise.resolve(answer);
      },
    });
    return { ended, child };
  }

  async function rounds(count: number, roundMs = 1_000): Promise<void> {
    for (let i = 0; i < count; i++) {
      now += roundMs;
      await jest.advanceTimersByTimeAsync(1_000);
    }
  }

  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('kill a server whose worker is busy with one request for too long', async () => {
    const { ended } = watched('mount', () => ({ workers: [[9, 9], [5, 4]] }));
    await rounds(13);
    expect(await ended).toBe('SIGKILL');
  });

  it('kill a server that does not answer', async () => {
    const { ended } = watched('mount', () => null);
    await rounds(13);
    expect(await ended).toBe('SIGKILL');
  });

  it('leave one alone whose workers go on, wait, or begin anew after 2^32 requests', async () => {
    let taken = 2 ** 32 - 5;
    const { child } = watched('mount', () => ({ workers: [[++taken % 2 ** 32, (taken - 1) % 2 ** 32], [5, 5]] }));
    await rounds(60);
    await settle();
    expect(child.signalCode).toBeNull();
  });

  it('count no round that came late: the host was slow, not the server', async () => {
    const { child } = watched('mount', () => ({ workers: [[5, 4]] }));
    await rounds(60, 5_000);
    await settle();
    expect(child.signalCode).toBeNull();
  });

  it('wait longer before they kill the next server of the same mount', async () => {
    const first = watched('mount', () => null);
    await rounds(13);
    expect(await first.ended).toBe('SIGKILL');
    const second = watched('mount', () => null);
    await rounds(15);
    await settle();
    expect(second.child.signalCode).toBeNull();
    await rounds(10);
    expect(await second.ended).toBe('SIGKILL');
  });
});
