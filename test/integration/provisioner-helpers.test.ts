/** Mount helpers that hang, die or fail: one in trouble does not hold up the others. */
import * as path from 'node:path';
import { silentLogger } from '../../src/log/logger';
import type { MountHelperOptions } from '../../provisioner/mount-helper/pool';
import { MountHelpers } from '../../provisioner/mount-helper/pool';

describe('mount helpers', () => {
  let helpers: MountHelpers;
  let restarts: number;

  function start(options: Partial<MountHelperOptions> = {}): void {
    restarts = 0;
    helpers = new MountHelpers({
      logger: silentLogger,
      script: path.join(__dirname, '../support/provisioner/odd-helper.js'),
      execArgv: [],
      onRestart: () => restarts++,
      ...options,
    });
    helpers.start();
  }

  afterEach(() => helpers.close());

  const run = (target: string, timeoutMs = 20_000): Promise<number> => helpers.run({ kind: 'unmount', target }, timeoutMs);

  it('works on in the others while one hangs, and replaces it at its deadline', async () => {
    start();
    const hanging = run('hang', 1000);
    expect(await run('x')).toBeGreaterThan(0);
    expect(await run('y')).toBeGreaterThan(0);
    await expect(hanging).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: expect.stringContaining('hang') });
    expect(restarts).toBe(1);
    await Promise.all(Array.from({ length: 10 }, (_, n) => run(`z${n}`)));
    expect(helpers.pids).toHaveLength(2);
    expect(helpers.stuck).toBe(0);
  });

  it('starts more while all hang, and not more than it needs', async () => {
    start({ growAfterMs: 100 });
    await run('warm');
    const hanging = [run('hang', 1500), run('hang', 1500)].map((work) => work.catch((err: { code: string }) => err.code));
    await run('x');
    expect(helpers.pids).toHaveLength(3);
    expect(await Promise.all(hanging)).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
    await Promise.all(Array.from({ length: 10 }, (_, n) => run(`y${n}`)));
    expect(helpers.pids.length).toBeLessThan(4);
  });

  it('does not wait longer for its turn than the deadline allows', async () => {
    start({ helpers: 1, maxHelpers: 1 });
    const hanging = run('hang', 1500);
    await expect(run('x', 300)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    const later = run('y');
    await expect(hanging).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect(later).resolves.toBeGreaterThan(0);
  });

  it('answers for a helper that dies, and goes on with a new one', async () => {
    start({ helpers: 1 });
    await expect(run('die')).rejects.toMatchObject({ code: 'SYSTEM', message: expect.stringContaining('SIGKILL') });
    await expect(run('x')).resolves.toBeGreaterThan(0);
    expect(restarts).toBe(1);
  });

  it('passes the failure of an operation on as it is', async () => {
    start();
    await expect(run('fail')).rejects.toMatchObject({ code: 'SYSTEM', data: { errno: 'EIO' } });
    expect(restarts).toBe(0);
  });

  it('refuses what the queue has no room for', async () => {
    start({ helpers: 1, maxHelpers: 1, maxQueued: 1 });
    await run('warm');
    const hanging = run('hang', 500);
    const queued = run('x');
    await expect(run('y')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await expect(hanging).rejects.toBeDefined();
    await expect(queued).resolves.toBeGreaterThan(0);
  });

  it('ends what waits when it is closed', async () => {
    start({ helpers: 1 });
    await run('warm');
    const [running, queued] = [run('hang'), run('x')].map((work) => work.catch((err: { code: string }) => err.code));
    await helpers.close();
    expect(await queued).toBe('CANCELLED');
    expect(await running).toBe('SYSTEM');
    await expect(run('z')).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
