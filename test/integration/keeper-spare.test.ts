/** The warm spare: whichever two of keeper, server and spare die, the third keeps the mount; one that lives and does not work is replaced. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { RepositoryConfig } from '../../src/config/repository-config';
import { KeeperClient } from '../../src/fuse/control/keeper-client';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { MadeRepository } from '../support/made-repository';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

/** Half of a listing, half of a file and a mapping of it; goes on with all three after a line on standard input. */
const HALVES = `
import ctypes, hashlib, mmap, os, sys
root, names, digest = sys.argv[1], int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
class Dirent(ctypes.Structure): _fields_ = [('ino', ctypes.c_ulong), ('off', ctypes.c_long), ('reclen', ctypes.c_ushort), ('type', ctypes.c_ubyte), ('name', ctypes.c_char * 256)]
libc.opendir.restype = ctypes.c_void_p; libc.readdir.restype = ctypes.POINTER(Dirent); libc.readdir.argtypes = [ctypes.c_void_p]
folder = libc.opendir(os.path.join(root, 'many').encode())
seen = [libc.readdir(folder).contents.name for _ in range(names // 3)]
fd = os.open(os.path.join(root, 'large'), os.O_RDONLY)
size = os.fstat(fd).st_size
mapping = mmap.mmap(fd, size, prot=mmap.PROT_READ)
half = os.read(fd, size // 2)
print('half', flush=True)
sys.stdin.readline()
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
rest = b''
while True:
    part = os.read(fd, 1 << 20)
    if not part: break
    rest += part
assert hashlib.sha256(half + rest).hexdigest() == digest, 'read'
assert hashlib.sha256(mapping[:]).hexdigest() == digest, 'mapped'
while True:
    entry = libc.readdir(folder)
    if not entry: break
    seen.append(entry.contents.name)
assert len(seen) == len(set(seen)) == names + 2, len(seen)
print('whole', flush=True)
`;

const NAMES = 4_000;
const NOBODY = 65_534;

describeWithMounts('a warm spare', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  const large = crypto.randomBytes(6_000_000);
  const digest = crypto.createHash('sha256').update(large).digest('hex');

  beforeAll(async () => {
    repository = await MadeRepository.create('spare.example.org');
    repository.write({ large, ...Object.fromEntries(Array.from({ length: NAMES }, (_, i) => [`many/a-rather-long-name-so-that-pages-are-full-${i}`, ''])) });
    await repository.publish();
  });

  beforeEach(async () => {
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterEach(() => host.end());
  afterAll(() => repository.end());

  const inRecord = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'keeper', `${info.id}.json`), 'utf8')) as { server: { pid: number } }).server.pid;
  const spareRecord = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number }).pid;
  const warm = async (): Promise<{ keeper: number; server: number; spare: number }> => {
    let found = { keeper: 0, server: 0, spare: 0 };
    await until('a spare is warm', async () => {
      const { keeper_pid: keeper, server_pid: server, spare_pid: spare } = (await host.status()).mounts[0] as unknown as { keeper_pid: number; server_pid: number; spare_pid: number | null };
      found = { keeper, server, spare: spare ?? 0 };
      return spare !== null;
    }, 60_000);
    return found;
  };
  const kill = async (...pids: number[]): Promise<void> => {
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await until('they are gone', () => !pids.some(alive));
  };
  /** Past the page cache, in a process that can be killed. */
  const reads = async (): Promise<string> => {
    await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    const ran = await host.outside('sh', ['-c', `sha256sum < ${info.mountpoint}/large; ls ${info.mountpoint}/many | wc -l`], { timeoutMs: 60_000 });
    return ran.stdout;
  };
  const WELL = `${digest}  -\n${NAMES}\n`;

  it('is the next server, and another becomes the spare', async () => {
    for (let round = 0; round < 3; round++) {
      const { server, spare } = await warm();
      await kill(server);
      expect(await reads()).toBe(WELL);
      expect(inRecord()).toBe(spare);
    }
  });

  it('takes the mount over by itself when keeper and server die at once, and the next keeper finds it', async () => {
    const { keeper, server, spare } = await warm();
    await kill(keeper, server);
    expect(await reads()).toBe(WELL);
    const after = await warm();
    expect(after.server).toBe(spare);
    expect(after.keeper).not.toBe(keeper);
    await kill(after.server);
    expect(await reads()).toBe(WELL);
  });

  it('may die together with the server, or with the keeper', async () => {
    const first = await warm();
    await kill(first.server, first.spare);
    expect(await reads()).toBe(WELL);
    const second = await warm();
    await kill(second.keeper, second.spare);
    expect(await reads()).toBe(WELL);
    expect((await warm()).server).toBe(second.server);
  });

  it('lets nobody notice who has half of a listing, half of a file, or a mapping', async () => {
    const halves = host.start('python3', ['-c', HALVES, info.mountpoint, String(NAMES), digest]);
    let said = '';
    let wrong = '';
    halves.stdout!.on('data', (data: Buffer) => (said += data.toString()));
    halves.stderr!.on('data', (data: Buffer) => (wrong += data.toString()));
    await until('half is read', () => said.includes('half'));
    const { keeper, server } = await warm();
    await kill(keeper, server);
    await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    halves.stdin!.write('\n');
    await until('all is read', () => said.includes('whole') || wrong !== '', 60_000);
    expect(wrong).toBe('');
  });

  it('takes over from a server that is stopped, or has been', async () => {
    const { server } = await warm();
    process.kill(server, 'SIGSTOP');
    expect(await reads()).toBe(WELL);
    expect(alive(server)).toBe(false);
  });

  it('is replaced when it is stopped itself', async () => {
    const { spare } = await warm();
    process.kill(spare, 'SIGSTOP');
    await until('another one is the spare', () => spareRecord() !== spare && !alive(spare), 60_000);
    expect((await warm()).server).toBe(info.serverPid);
  });

  it('finds the cache that is there, although it had opened another one ahead', async () => {
    const { keeper, spare } = await warm();
    await host.umount(info.mountpoint);
    fs.rmSync(host.cacheDir, { recursive: true });
    info = await host.mount(repository.mountSource);
    expect((await warm()).keeper).toBe(keeper);
    expect(inRecord()).toBe(spare);
    expect(await reads()).toBe(WELL);
    expect(fs.existsSync(path.join(host.cacheDir, 'index.db'))).toBe(true);
  });

  it('has, like every server, no way to gain privileges, and the limits and the protection of its keeper', async () => {
    const { keeper, server, spare } = await warm();
    const read = (pid: number, name: string): string => fs.readFileSync(`/proc/${pid}/${name}`, 'latin1');
    const openFiles = (pid: number): string => /^Max open files.*$/m.exec(read(pid, 'limits'))![0];
    // Where the keeper has the right to raise them (CAP_SYS_RESOURCE), it has, and all inherit what it got.
    const mayRaise = (BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(read(keeper, 'status'))![1]}`) & (1n << 24n)) !== 0n;
    if (mayRaise) {
      expect(read(keeper, 'oom_score_adj').trim()).toBe('-900');
      expect(Number(openFiles(keeper).split(/\s+/)[3])).toBeGreaterThanOrEqual(65_536);
    }
    for (const pid of [server, spare]) {
      for (const task of fs.readdirSync(`/proc/${pid}/task`)) expect(read(pid, `task/${task}/status`)).toMatch(/^NoNewPrivs:\t1$/m);
      expect(read(pid, 'oom_score_adj')).toBe(read(keeper, 'oom_score_adj'));
      expect(openFiles(pid)).toBe(openFiles(keeper));
    }
  });

  it('runs as another user without any capability, and takes over as that user', async () => {
    fs.chmodSync(host.dir, 0o711);
    const cacheDir = path.join(host.dir, 'cache-of-nobody');
    fs.mkdirSync(cacheDir, { mode: 0o700 });
    fs.chownSync(cacheDir, NOBODY, NOBODY);
    const record = path.join(host.runDir, 'keeper', `${info.id}.json`);
    const { config } = JSON.parse(fs.readFileSync(record, 'utf8')) as { config: RepositoryConfig };
    const mountpoint = path.join(host.dir, 'of-nobody');
    fs.mkdirSync(mountpoint);
    await host.umount(info.mountpoint);
    const keeper = await KeeperClient.start(host.runDir);
    info = await keeper.mount({ mountpoint, config: { ...config, cacheDir }, serverUid: NOBODY, serverGid: NOBODY });
    keeper.close();
    const { server, spare } = await warm();
    for (const pid of [server, spare]) {
      const status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
      expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
      expect(status).toMatch(/^Groups:\t\s*$/m);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) expect(status).toMatch(new RegExp(`^${set}:\\t0+$`, 'm'));
    }
    await kill(server);
    expect(await reads()).toBe(WELL);
    expect(inRecord()).toBe(spare);
  });
});
