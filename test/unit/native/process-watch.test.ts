/** The end of processes is learned by waiting, of any number of them and of those that are not children. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createProcessWatch } from '../../../src/native/process-watch';
import type { ProcessWatch } from '../../../src/native/process-watch';

const settled = async (promise: Promise<void>): Promise<boolean> => Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 100))]);

describe('a watch over processes', () => {
  let watch: ProcessWatch;
  const started: ChildProcess[] = [];

  beforeEach(() => (watch = createProcessWatch()));

  afterEach(() => {
    watch.close();
    for (const child of started.splice(0)) child.kill('SIGKILL');
  });

  const sleeper = (): ChildProcess => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    started.push(child);
    return child;
  };

  it('tells each end and nothing else', async () => {
    const children = [sleeper(), sleeper(), sleeper()];
    const ends = children.map((child) => watch.ended(child.pid!));
    expect(await Promise.all(ends.map(settled))).toEqual([false, false, false]);
    children[1]!.kill('SIGKILL');
    await ends[1];
    expect(await Promise.all([settled(ends[0]!), settled(ends[2]!)])).toEqual([false, false]);
    const late = sleeper();
    const lateEnd = watch.ended(late.pid!);
    late.kill('SIGKILL');
    children[0]!.kill('SIGKILL');
    await Promise.all([lateEnd, ends[0]]);
    expect(await settled(ends[2]!)).toBe(false);
  });

  it('sees the end of a grandchild, whose parent is gone', async () => {
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const pid = Number(await new Promise<string>((resolve) => parent.stdout!.once('data', (data: Buffer) => resolve(data.toString()))));
    const end = watch.ended(pid);
    expect(await settled(end)).toBe(false);
    process.kill(pid, 'SIGKILL');
    await end;
  });

  it('resolves at once for a process that is not there', async () => {
    const child = sleeper();
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await closed;
    await watch.ended(child.pid!);
  });

  it('is started again after it was empty, and watches nothing once closed', async () => {
    for (let i = 0; i < 3; i++) {
      const child = sleeper();
      const end = watch.ended(child.pid!);
      child.kill('SIGKILL');
      await end;
    }
    watch.close();
    await expect(watch.ended(process.pid)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
