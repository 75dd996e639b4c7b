/** A new keeper stops the spare of the one before only where nobody waits for what it holds. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { stopEarlierSpares } from '../../src/fuse/keeper/earlier-spares';
import { isAlive, isStopped, startTicks } from '../../src/fuse/process-identity';
import type { ProcessIdentity } from '../../src/fuse/process-identity';
import { removeSpare, writeSpare } from '../../src/fuse/server/holder';
import { createProcessWatch } from '../../src/native/process-watch';

/** Locks the file that it is given, says so, and lets go after so many seconds. */
const LOCKER = `
import fcntl, sys, time
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('locked', flush=True)
time.sleep(float(sys.argv[2]))
file.close()
time.sleep(1000)
`;

describe('the spares of an earlier keeper', () => {
  let runDir: string;
  let children: ChildProcess[];
  let spare: ProcessIdentity | undefined;
  const watch = createProcessWatch();

  /** One more spare that holds a mount, and keeps a lock for `seconds`. */
  async function begin(seconds: number): Promise<void> {
    const child = spawn('python3', ['-c', LOCKER, path.join(runDir, 'locked'), String(seconds)], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    const others = spare === undefined ? [] : [spare];
    spare = { pid: child.pid!, startTicks: startTicks(child.pid!)! };
    fs.writeFileSync(path.join(runDir, 'spare.json'), JSON.stringify({ ...spare, others }));
    writeSpare(path.join(runDir, 'mounts/one'), { ...spare, fuseFd: 9, version: null });
  }

  beforeEach(() => {
    children = [];
    spare = undefined;
    runDir = fs.mkdtempSync(path.join(os.tmpdir(), 'earlier-spares-'));
    fs.mkdirSync(path.join(runDir, 'mounts/one'), { recursive: true });
  });

  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    fs.rmSync(runDir, { recursive: true });
  });

  afterAll(() => watch.close());

  it('are stopped once they hold no lock that somebody may wait for', async () => {
    await begin(0.1);
    expect(await stopEarlierSpares(runDir, [], watch)).toEqual([spare]);
    expect(isStopped(spare!)).toBe(true);
  });

  it('are ended when they do not let go of it', async () => {
    await begin(1_000);
    expect(await stopEarlierSpares(runDir, [], watch)).toEqual([]);
    expect(isAlive(spare!)).toBe(false);
  });

  it('are ended when they hold no mount', async () => {
    await begin(0);
    removeSpare(path.join(runDir, 'mounts/one'), spare!.pid);
    expect(await stopEarlierSpares(runDir, [], watch)).toEqual([]);
    expect(isAlive(spare!)).toBe(false);
  });

  it('are ended where a newer one holds all that they hold', async () => {
    await begin(0);
    const older = spare!;
    await begin(0);
    expect(await stopEarlierSpares(runDir, [], watch)).toEqual([spare]);
    expect([isAlive(older), isAlive(spare!)]).toEqual([false, true]);
  });
});
