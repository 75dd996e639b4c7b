import { spawn } from 'node:child_process';
import { isBeingKilled, WaitingRequests } from '../../../src/fuse/server/waiting-requests';

const aborted = (signal: AbortSignal): Promise<string> => new Promise((resolve) => signal.addEventListener('abort', () => resolve('cut'), { once: true }));

describe('requests that wait', () => {
  it('go on when their process survives the signal, and end when it is killed later', async () => {
    let dying = false;
    const waiting = new WaitingRequests(() => dying);
    const work = waiting.during('1', 7, aborted);
    waiting.interrupt('1');
    await Promise.resolve();
    expect(waiting.size).toBe(1);
    dying = true;
    expect(await work).toBe('cut');
    expect(waiting.size).toBe(0);
  });

  it('know an interrupt that overtook them', async () => {
    const waiting = new WaitingRequests(() => true);
    waiting.interrupt('1');
    expect(await waiting.during('1', 7, async (signal) => signal.aborted)).toBe(true);
    expect(await waiting.during('1', 7, async (signal) => signal.aborted)).toBe(false);
  });
});

describe('whether a process is being killed', () => {
  it('is no for one that lives and yes for one that has gone', async () => {
    const child = spawn('sleep', ['60']);
    expect(isBeingKilled(child.pid!)).toBe(false);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    expect(isBeingKilled(child.pid!)).toBe(true);
    expect(isBeingKilled(0)).toBe(false);
  });
});
