/** The service manager's store: what it keeps comes back, and what does not belong there goes. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { descriptorStore } from '../../../src/fuse/keeper/descriptor-store';
import { createDescriptorLogger } from '../../../src/log/descriptor-logger';
import { ServiceManager } from '../../support/service-manager';
import { until } from '../../support/shell';
import { typescriptExecArgv } from '../../support/typescript-process';

jest.setTimeout(60_000);

const ONE = '0123456789ab';
const TWO = 'ba9876543210';

interface Seen {
  readonly taken: ReadonlyArray<readonly [string, string]>;
  readonly environment: readonly string[];
  readonly inherited: readonly number[];
  readonly managed: boolean;
}

const haveFuse = fs.existsSync('/dev/fuse') && ((): boolean => {
  try {
    fs.accessSync('/dev/fuse', fs.constants.R_OK | fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();
const withFuse = haveFuse ? describe : describe.skip;

describe('a store that nobody keeps', () => {
  it('takes, puts and removes nothing', () => {
    const log = createDescriptorLogger(2);
    const store = descriptorStore({ environment: { LISTEN_FDS: '3', LISTEN_PID: '1' }, pid: 2, socket: null, descriptors: { closeOnExec: () => false, hungUp: () => false }, log });
    expect(store.managed).toBe(false);
    expect(store.take(new Map([[ONE, '0:1']])).size).toBe(0);
    store.put(ONE, 0);
    store.remove(ONE);
    store.ready('well');
  });

  it.each(['-1', '', '1x', '99999999', '0x3', '1048577'])('believes no number of descriptors like %j', (listenFds) => {
    const asked: number[] = [];
    const store = descriptorStore({
      environment: { LISTEN_FDS: listenFds, LISTEN_PID: '2' },
      pid: 2,
      socket: null,
      descriptors: { closeOnExec: (fd) => (asked.push(fd), false), hungUp: () => false },
      log: createDescriptorLogger(2),
    });
    expect(store.take(new Map()).size).toBe(0);
    expect(asked).toEqual([]);
  });

  it('says later what the manager had no room for, in its order', async () => {
    const said: string[] = [];
    let room = 0;
    const socket = { send: (lines: readonly string[]): boolean => (room-- > 0 ? (said.push(lines.join(' ')), true) : false) };
    const store = descriptorStore({ environment: {}, pid: 2, socket, descriptors: { closeOnExec: () => false, hungUp: () => false }, log: createDescriptorLogger(2) });
    store.put(ONE, 0);
    store.put(TWO, 0);
    store.remove(TWO);
    store.ready('well');
    expect(said).toEqual([]);
    room = 2;
    await until('two words are said', () => said.length === 2);
    room = 10;
    await until('all is said', () => said.length === 3);
    expect(said).toEqual([`FDSTORE=1 FDNAME=${ONE} FDPOLL=0`, `FDSTOREREMOVE=1 FDNAME=${TWO}`, 'READY=1 STATUS=well']);
  });
});

withFuse('a store with a service manager', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'descriptor-store-'));
  const file = path.join(dir, 'seen');
  const managers: ServiceManager[] = [];
  const pids: number[] = [];

  function manager(wish: { devices?: Record<string, string>; put?: string[]; remove?: string[]; alive?: boolean }, options: { socket?: string; storeMax?: number } = {}): ServiceManager {
    const argument = JSON.stringify({ devices: {}, put: [], remove: [], alive: true, file, ...wish });
    const command = [process.execPath, ...typescriptExecArgv, path.resolve(__dirname, '../../support/descriptor-store-child.ts'), argument];
    const made = new ServiceManager({ socket: options.socket ?? path.join(dir, `notify-${managers.length}`), storeMax: options.storeMax ?? 16, command });
    managers.push(made);
    return made;
  }

  async function run(made: ServiceManager, listenPid?: number): Promise<Seen> {
    const pid = await made.startReady(listenPid);
    pids.push(pid);
    return JSON.parse(fs.readFileSync(file, 'utf8')) as Seen;
  }

  async function kill(made: ServiceManager): Promise<void> {
    const before = made.of('ended').length;
    process.kill(pids.at(-1)!, 'SIGKILL');
    await until('it has ended', () => made.of('ended').length > before);
  }

  afterEach(async () => {
    for (const pid of pids.splice(0)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Ended in the test.
      }
    }
    for (const made of managers.splice(0)) await made.end();
  });
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

  it.each(['a path', 'an abstract name'])('gives back after a death what was put into it, over a socket with %s', async (kind) => {
    const made = manager({ devices: { [ONE]: '0:1', [TWO]: '0:2' }, put: [ONE, TWO] }, kind === 'a path' ? {} : { socket: `@mesos-cvmfs-test-${process.pid}` });
    expect(await run(made)).toEqual({ taken: [], environment: [], inherited: [], managed: true });
    expect(await made.stored()).toEqual([ONE, TWO]);
    expect(made.said).toContain('STATUS=a test of its own');
    // Without it the manager would be woken by every request on the descriptor.
    expect(made.of('said').filter(({ descriptors }) => descriptors === 1).every(({ lines }) => lines!.includes('FDPOLL=0'))).toBe(true);
    await kill(made);
    const { taken, ...rest } = await run(made);
    expect(taken).toEqual([[ONE, '/dev/fuse'], [TWO, '/dev/fuse']]);
    expect(rest).toEqual({ environment: [], inherited: [], managed: true });
  });

  it('takes out what has no mount any more, what is no /dev/fuse, and names that it never gave', async () => {
    const made = manager({ devices: { [ONE]: '0:1' } });
    made.store(TWO, '/dev/fuse');
    made.store('stored', '/dev/fuse');
    made.store(ONE, '/dev/null');
    made.store(ONE, '/dev/fuse');
    made.store(ONE, '/dev/fuse');
    expect((await run(made)).taken).toEqual([[ONE, '/dev/fuse']]);
    await until('only the good one is left', async () => (await made.stored()).join() === ONE);
  });

  it('has no use for a descriptor whose connection has ended', async () => {
    const made = manager({ devices: { [ONE]: '0:1' }, alive: false });
    made.store(ONE, '/dev/fuse');
    expect((await run(made)).taken).toEqual([]);
    await until('it is taken out', async () => (await made.stored()).length === 0);
  });

  it('leaves descriptors alone that were meant for another process', async () => {
    const made = manager({ devices: { [ONE]: '0:1' } });
    made.store(ONE, '/dev/fuse');
    expect(await run(made, process.pid)).toMatchObject({ taken: [], environment: [] });
    expect(await made.stored()).toEqual([ONE]);
  });

  it('goes on when the manager keeps fewer than it is given', async () => {
    const made = manager({ devices: { [ONE]: '0:1', [TWO]: '0:2' }, put: [ONE, TWO] }, { storeMax: 1 });
    await run(made);
    expect(await made.stored()).toEqual([ONE]);
    expect(made.of('dropped').map(({ name }) => name)).toEqual([TWO]);
    await kill(made);
    expect((await run(made)).taken).toEqual([[ONE, '/dev/fuse']]);
  });

  it('forgets what is removed', async () => {
    const made = manager({ devices: {}, put: [ONE, TWO], remove: [ONE] });
    await run(made);
    expect(await made.stored()).toEqual([TWO]);
  });
});
