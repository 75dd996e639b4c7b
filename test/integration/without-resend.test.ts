/**
 * Kernels before 6.9 do not repeat the requests that a dead server had taken. There each server reads through clones of its
 * own: its death fails exactly what it had in hand, with ECONNABORTED, and everything else waits for its successor.
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { MadeRepository } from '../support/made-repository';
import { openFiles } from '../support/our-processes';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const FILES = 60;
const KILLS = 30;
/** Servers that keep dying are started ever later, so the kills are shared out. */
const MOUNTS = 3;
/** `fuse.max_readers`. */
const READERS = 2;

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

/**
 * Reads, lists and looks up everything until a file appears, past the kernel's caches. What fails with an error is done
 * again at once. Prints as JSON how many rounds there were, and the errors by name; what is wrong ends it.
 */
const READER = `
import errno, hashlib, json, os, random, sys
root, stop, seed = sys.argv[1], sys.argv[2], sys.argv[3]
random.seed(seed)
wanted = dict(line.split() for line in open(sys.argv[4]))
errors, rounds = {}, 0
def step(work):
    for _ in range(1000):
        try:
            return work()
        except OSError as error:
            name = errno.errorcode[error.errno]
            errors[name] = errors.get(name, 0) + 1
    sys.exit('an error that does not end')
def content(name):
    fd = os.open(os.path.join(root, name), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.sha256()
        while True:
            part = os.read(fd, 65536)
            if not part: return digest.hexdigest()
            digest.update(part)
    finally:
        os.close(fd)
def missing(name):
    try:
        os.lstat(os.path.join(root, name))
        return False
    except FileNotFoundError:
        return True
def below(folder):
    with os.scandir(os.path.join(root, folder)) as entries: found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    names = []
    for name, is_dir in found:
        if not is_dir: names += [os.path.join(folder, name)]
        else: names += step(lambda: below(os.path.join(folder, name)))
    return [name for name in names if not name.endswith('.cvmfscatalog')]
while not os.path.exists(stop):
    names = sorted(wanted)
    random.shuffle(names)
    for name in names:
        if step(lambda: content(name)) != wanted[name]: sys.exit(name + ' has the wrong content')
        if not step(lambda: missing(name + '-' + str(random.random()))): sys.exit('a name that does not exist')
        step(lambda: os.getxattr(os.path.join(root, name), 'user.hash'))
    if sorted(step(lambda: below(''))) != sorted(wanted): sys.exit('the listing is wrong')
    rounds += 1
print(json.dumps({'rounds': rounds, 'errors': errors}))
`;

interface Tally {
  readonly rounds: number;
  readonly errors: Readonly<Record<string, number>>;
}

describeWithMounts('servers on a kernel that does not repeat requests', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let sums: string;

  beforeAll(async () => {
    repository = await MadeRepository.create('clones.example.org');
    const lines: string[] = [];
    for (let i = 0; i < FILES; i++) {
      const name = `image-${i % 6}/folder-${i % 4}/file-${i}`;
      const content = crypto.randomBytes(i % 10 === 0 ? 1_500_000 : 3_000 * (i % 7));
      repository.write({ [`tree/image-${i % 6}/.cvmfscatalog`]: '', [`tree/${name}`]: content });
      lines.push(`${name} ${crypto.createHash('sha256').update(content).digest('hex')}\n`);
    }
    repository.write({ 'tree/.cvmfscatalog': '', 'late/.cvmfscatalog': '', 'late/big': crypto.randomBytes(3_000_000), 'late/small': 'small', 'later/.cvmfscatalog': '', 'later/file': 'later' });
    await repository.publish();
    sums = path.join(repository.dir, 'sums');
    fs.writeFileSync(sums, lines.join(''));
  });

  beforeEach(async () => {
    host = new TestHost();
    info = await host.mount({ ...repository.mountSource, env: { MESOS_CVMFS_FORCE_CLONES: '1' } });
  });

  afterEach(async () => {
    repository.server.behave = () => undefined;
    await host.end();
  });

  afterAll(() => repository.end());

  const kill = async (pid: number): Promise<void> => {
    process.kill(pid, 'SIGKILL');
    await until(`process ${pid} is gone`, () => !alive(pid));
  };
  const serverInRecord = (id = info.id): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'keeper', `${id}.json`), 'utf8')) as { server: { pid: number } }).server.pid;
  const spareInRecord = async (): Promise<number> => {
    const spare = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number }).pid;
    await until('there is a spare', () => spare() !== serverInRecord() && alive(spare()));
    return spare();
  };
  const killServer = async (id = info.id): Promise<void> => {
    const pid = serverInRecord(id);
    await kill(pid);
    await until('another is started', () => serverInRecord(id) !== pid);
  };
  /** Open descriptors of /dev/fuse. */
  const devices = (pid: number): number => openFiles(pid).filter((file) => file === '/dev/fuse').length;
  /** Asks the server past all that the kernel keeps. */
  const answers = async ({ mountpoint } = info): Promise<void> => {
    const ran = await host.outside('sh', ['-c', `stat "$1/tree/no-${crypto.randomUUID()}" 2>/dev/null || cat "$1/tree/image-0/folder-0/file-0" | wc -c`, 'sh', mountpoint], { timeoutMs: 30_000 });
    expect(ran).toEqual({ code: 0, stdout: '1500000\n', stderr: '' });
  };

  async function underReaders(mounts: readonly MountInfo[], act: () => Promise<void>): Promise<Tally[]> {
    const stop = path.join(host.dir, 'stop');
    const client = host.client(mounts[0]!);
    const view = await client.makeView(await client.snapshot(), Buffer.from('/tree'));
    client.close();
    const roots = [path.join(mounts[0]!.mountpoint, view.pathInMount.toString()), ...mounts.map(({ mountpoint }) => path.join(mountpoint, 'tree'))];
    const readers = roots.map((root, i) => host.outside('python3', ['-c', READER, root, stop, String(i), sums], { timeoutMs: 170_000 }));
    try {
      await act();
    } finally {
      fs.writeFileSync(stop, '');
    }
    return (await Promise.all(readers)).map((ran) => {
      expect(ran).toMatchObject({ code: 0, stderr: '' });
      return JSON.parse(ran.stdout) as Tally;
    });
  }

  it('fail nothing but what they had in hand when they are killed again and again, and serve on', async () => {
    const mounts = [info];
    while (mounts.length < MOUNTS) mounts.push(await host.mount({ ...repository.mountSource, name: `mnt-${mounts.length}` }));
    const tallies = await underReaders(mounts, async () => {
      for (let i = 0; i < KILLS; i++) {
        const mount = mounts[i % mounts.length]!;
        await killServer(mount.id);
        // Half of them while they take over, half at work.
        if (i % 2 === 0) await answers(mount);
        else await new Promise((resolve) => setTimeout(resolve, (i * 37) % 400));
      }
    });
    for (const { rounds, errors } of tallies) {
      expect(rounds).toBeGreaterThan(0);
      expect(Object.keys(errors).filter((name) => name !== 'ECONNABORTED')).toEqual([]);
      // A reader has one request in hand at a time.
      expect(errors['ECONNABORTED'] ?? 0).toBeLessThanOrEqual(KILLS);
    }
    for (const mount of mounts) await answers(mount);
  });

  it('read through as many clones as they have workers, which nobody else holds', async () => {
    await until('the spare holds the mount', async () => devices(await spareInRecord()) === 1 + READERS);
    const { keeper_pid: keeper, server_pid: server } = (await host.status()).mounts[0]!;
    expect(devices(keeper)).toBe(1);
    expect(devices(server)).toBe(1 + READERS);
    await killServer();
    await answers();
    expect(devices(keeper)).toBe(1);
    expect(devices(serverInRecord())).toBe(1 + READERS);
  });

  it('are succeeded by the spare when the keeper dies with them', async () => {
    for (let round = 0; round < 3; round++) {
      const { keeper_pid: keeper, server_pid: server } = (await host.status()).mounts[0]!;
      const spare = await spareInRecord();
      await until('the spare holds the mount', () => devices(spare) === 1 + READERS);
      process.kill(keeper, 'SIGKILL');
      await kill(server);
      await answers();
      expect(alive(keeper)).toBe(false);
      // The next keeper finds who serves.
      const status = await host.status();
      expect(status).toMatchObject({ mounts: [{ server_pid: spare }], warnings: expect.not.arrayContaining([expect.stringMatching(/dead/)]) as string[] });
    }
  });

  it('end what waits for the network with ECONNABORTED, and a second try succeeds', async () => {
    const shell = Shell.in(host, info.mountpoint);
    repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'hang' } : undefined);
    const asked = repository.catalogRequests.length;
    const waiting = shell.ask('stat -c %n late/small');
    await until('the catalog is asked for', () => repository.catalogRequests.length > asked);
    await killServer();
    expect(await waiting).toMatch(/late\/small.*Software caused connection abort/);
    repository.server.behave = () => undefined;
    expect(await shell.ask('cat late/small')).toBe('small');
  });
});
