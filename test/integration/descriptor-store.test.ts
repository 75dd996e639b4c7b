/** With a service manager's store no death is final: keeper, server and spare at the same instant, under a reader. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { ServiceManager } from '../support/service-manager';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const BIN = path.resolve(__dirname, '../../bin/mesos-cvmfs');
const ROUNDS = 5;

/** Reads a file in small pieces, past the page cache, until it is told to stop; each read must give what it should. */
const READER = `
import hashlib, os, sys
file, stop, wanted = sys.argv[1:]
fd = os.open(file, os.O_RDONLY)
size = os.fstat(fd).st_size
print('reading', flush=True)
rounds = 0
while not os.path.exists(stop):
    digest = hashlib.sha256()
    for at in range(0, size, 65536):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        digest.update(os.pread(fd, 65536, at))
    if digest.hexdigest() != wanted: sys.exit('wrong content')
    rounds += 1
print(rounds)
`;

/** Has a descriptor of /dev/fuse that another process holds stored under a name that is not its own. */
const SEND = `
import ctypes, os, socket, sys
pid, name, to = sys.argv[1:]
fd = next(int(n) for n in os.listdir(f'/proc/{pid}/fd') if os.readlink(f'/proc/{pid}/fd/{n}') == '/dev/fuse')
copy = ctypes.CDLL(None).syscall(438, os.pidfd_open(int(pid)), fd, 0)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(to)
socket.send_fds(s, [f'FDSTORE=1\\nFDNAME={name}\\nFDPOLL=0'.encode()], [copy])
`;

describeWithMounts('a service manager that keeps descriptors', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let manager: ServiceManager;
  let sum: string;

  beforeAll(async () => {
    repository = await MadeRepository.create('store.example.org');
    const content = crypto.randomBytes(3_000_000);
    sum = crypto.createHash('sha256').update(content).digest('hex');
    repository.write({ 'tree/large': content, 'tree/small': 'small' });
    await repository.publish();
  });
  afterAll(() => repository.end());
  beforeEach(() => {
    host = new TestHost();
    manager = managerWith(16);
  });
  afterEach(async () => {
    await manager.end();
    await host.end();
  });

  function managerWith(storeMax: number): ServiceManager {
    return new ServiceManager({ socket: path.join(host.dir, `notify-${storeMax}`), storeMax, command: [process.execPath, BIN, 'keeper', '--run-dir', host.runDir] });
  }
  const alive = (pid: number): boolean => fs.existsSync(`/proc/${pid}/ns/mnt`);
  /** Keeper, servers and spare, all that there are. */
  async function everybody(): Promise<number[]> {
    const { keeper } = JSON.parse(await host.ok(['status', '--json'])) as { keeper: { pid: number } };
    // Also one that is not ready yet.
    const spare = JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number };
    return [...new Set([keeper.pid, ...host.servers(), spare.pid])].filter(alive);
  }
  /** Stops all of them first, so that none of them sees another one die. */
  async function killAll(): Promise<void> {
    const pids = await everybody();
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of pids) process.kill(pid, signal);
    await until('all are gone', () => !pids.some(alive));
    expect(host.servers()).toEqual([]);
  }
  const read = (info: MountInfo): ReturnType<TestHost['outside']> => host.outside('sh', ['-c', `echo 3 > /proc/sys/vm/drop_caches; sha256sum < ${info.mountpoint}/tree/large`]);

  it('a reader in the middle of a file does not notice that everything died at once', async () => {
    await manager.startReady();
    const info = await host.mount(repository.mountSource);
    const stop = path.join(host.dir, 'stop');
    const reader = host.outside('python3', ['-c', READER, path.join(info.mountpoint, 'tree/large'), stop, sum], { timeoutMs: 150_000 });
    for (let round = 0; round < ROUNDS; round++) {
      expect(await manager.stored()).toEqual([info.id]);
      await killAll();
      await manager.startReady();
      expect(await read(info)).toMatchObject({ code: 0, stdout: `${sum}  -\n` });
    }
    fs.writeFileSync(stop, '');
    const { code, stderr, stdout } = await reader;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(Number(stdout.split('\n')[1])).toBeGreaterThan(0);
  });

  it('an unmounted repository leaves the store', async () => {
    await manager.startReady();
    const first = await host.mount(repository.mountSource);
    const second = await host.mount({ ...repository.mountSource, name: 'second' });
    expect([...(await manager.stored())].sort()).toEqual([first.id, second.id].sort());
    await host.ok(['umount', first.mountpoint]);
    await until('it is out of the store', async () => (await manager.stored()).join() === second.id);
    await killAll();
    // Unmounted by somebody else while nobody lived.
    expect((await host.outside('umount', ['-l', second.mountpoint])).code).toBe(0);
    await manager.startReady();
    await until('the store is empty', async () => (await manager.stored()).length === 0);
    expect(await host.status()).toMatchObject({ mounts: [] });
    expect(fs.readdirSync(path.join(host.runDir, 'keeper'))).toEqual([]);
  });

  it('a mount that found no room in the store is dead afterwards, is reported and can be taken away', async () => {
    await manager.end();
    manager = managerWith(1);
    await manager.startReady();
    const kept = await host.mount(repository.mountSource);
    const lost = await host.mount({ ...repository.mountSource, name: 'second' });
    expect(manager.of('dropped')).toContainEqual({ event: 'dropped', name: lost.id });
    await killAll();
    await manager.startReady();
    expect(await read(kept)).toMatchObject({ code: 0, stdout: `${sum}  -\n` });
    const { mounts, warnings } = await host.status();
    expect(mounts.map(({ mountpoint }) => mountpoint)).toEqual([kept.mountpoint]);
    expect(warnings.join('\n')).toMatch(new RegExp(`at ${lost.mountpoint} is dead: `));
    await host.ok(['umount', lost.mountpoint]);
    expect(host.mountsBelow()).toEqual([kept.mountpoint]);
  });

  it('a descriptor of another mount under the name of this one is not used', async () => {
    await manager.startReady();
    const info = await host.mount(repository.mountSource);
    await killAll();
    const other = new TestHost();
    try {
      // One whose connection lives, one of no connection, and one that is no /dev/fuse; the right one is there already.
      const stranger = await other.mount(repository.mountSource);
      expect(await other.outside('python3', ['-c', SEND, String(stranger.serverPid), info.id, path.join(host.dir, 'notify-16')])).toMatchObject({ code: 0, stderr: '' });
      manager.store(info.id, '/dev/fuse');
      manager.store(info.id, '/dev/null');
      expect(await manager.stored()).toEqual([info.id, info.id, info.id, info.id]);
      await manager.startReady();
      await until('only the right one is left', async () => (await manager.stored()).join() === info.id);
      expect(await read(info)).toMatchObject({ code: 0, stdout: `${sum}  -\n` });
      expect((await other.outside('cat', [path.join(stranger.mountpoint, 'tree/small')])).stdout).toBe('small');
    } finally {
      await other.end();
    }
  });

  it('takes the place of a keeper that a command had started, and stays when nothing is mounted', async () => {
    const info = await host.mount(repository.mountSource);
    const before = JSON.parse(await host.ok(['status', '--json'])) as { keeper: { pid: number; descriptors_stored: boolean } };
    expect(before.keeper.descriptors_stored).toBe(false);
    expect(await host.ok(['status'])).toContain('descriptors are not stored by a service manager\n');
    const pid = await manager.startReady();
    await until('the other keeper has ended', () => !alive(before.keeper.pid));
    expect(JSON.parse(await host.ok(['status', '--json']))).toMatchObject({ keeper: { pid, descriptors_stored: true } });
    expect(await manager.stored()).toEqual([info.id]);
    await host.ok(['umount', info.mountpoint]);
    await until('the store is empty', async () => (await manager.stored()).length === 0);
    await new Promise((resolve) => setTimeout(resolve, 11_000));
    expect(alive(pid)).toBe(true);
  });
});
