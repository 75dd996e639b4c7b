/** No process is precious: servers and keepers are killed under readers, alone and together, and who reads does not notice. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { MadeRepository } from '../support/made-repository';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const FILES = 60;
const KILLS = 20;

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

/**
 * Reads, lists and looks up everything again and again until a file appears, past the kernel's caches: each round has
 * its page cache dropped, and names that do not exist are asked for. Prints rounds, or what was wrong.
 */
const READER = `
import hashlib, os, random, sys
root, stop, seed = sys.argv[1], sys.argv[2], sys.argv[3]
random.seed(seed)
wanted = dict(line.split() for line in open(sys.argv[4]))
rounds = 0
while not os.path.exists(stop):
    names = sorted(wanted)
    random.shuffle(names)
    for name in names:
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            digest = hashlib.sha256()
            while True:
                part = os.read(fd, 65536)
                if not part: break
                digest.update(part)
        finally:
            os.close(fd)
        if digest.hexdigest() != wanted[name]: sys.exit(f'{name} has the wrong content')
        if os.path.lexists(os.path.join(root, name + '-' + str(random.random()))): sys.exit('a name that does not exist')
        os.getxattr(os.path.join(root, name), 'user.hash')
    listed = sorted(os.path.relpath(os.path.join(d, f), root) for d, _, files in os.walk(root) for f in files if not f.startswith('.'))
    if listed != sorted(wanted): sys.exit('the listing is wrong')
    rounds += 1
print(rounds)
`;

describeWithMounts('processes that are killed', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let sums: string;

  beforeAll(async () => {
    repository = await MadeRepository.create('death.example.org');
    const lines: string[] = [];
    for (let i = 0; i < FILES; i++) {
      const name = `image-${i % 6}/folder-${i % 4}/file-${i}`;
      const content = crypto.randomBytes(i % 10 === 0 ? 1_500_000 : 3_000 * (i % 7));
      repository.write({ [`tree/image-${i % 6}/.cvmfscatalog`]: '', [`tree/${name}`]: content });
      lines.push(`${name} ${crypto.createHash('sha256').update(content).digest('hex')}\n`);
    }
    repository.write({ 'tree/.cvmfscatalog': '' });
    await repository.publish();
    sums = path.join(repository.dir, 'sums');
    fs.writeFileSync(sums, lines.join(''));
  });

  beforeEach(async () => {
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterEach(() => host.end());

  afterAll(() => repository.end());

  const tree = (): string => path.join(info.mountpoint, 'tree');
  const pids = async (): Promise<{ keeper: number; server: number }> => {
    const { keeper_pid: keeper, server_pid: server } = (await host.status()).mounts[0]!;
    return { keeper, server };
  };
  const kill = async (pid: number): Promise<void> => {
    process.kill(pid, 'SIGKILL');
    await until(`process ${pid} is gone`, () => !alive(pid));
  };
  /** The record says which process serves, without a command that would start a keeper. */
  const serverInRecord = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'keeper', `${info.id}.json`), 'utf8')) as { server: { pid: number } }).server.pid;
  /** The standby that the keeper started last, when it is another process than the server. */
  const spareInRecord = async (): Promise<number> => {
    const spare = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number }).pid;
    await until('there is a spare', () => spare() !== serverInRecord() && alive(spare()));
    return spare();
  };
  const reads = async (): Promise<unknown> => {
    await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    return host.outside('python3', ['-c', READER.replace('while not os.path.exists(stop):', 'for _ in range(1):'), tree(), '-', '1', sums]);
  };
  const WELL = { code: 0, stdout: '1\n', stderr: '' };

  /** Runs readers while `act` does its worst; every one must end without an error. */
  async function underReaders(act: () => Promise<void>): Promise<void> {
    const stop = path.join(host.dir, 'stop');
    const client = host.client(info);
    const view = await client.makeView(await client.snapshot(), Buffer.from('/tree'));
    client.close();
    const roots = [tree(), path.join(info.mountpoint, view.pathInMount.toString()), tree()];
    const readers = roots.map((root, i) => host.outside('python3', ['-c', READER, root, stop, String(i), sums], { timeoutMs: 100_000 }));
    try {
      await act();
    } finally {
      fs.writeFileSync(stop, '');
    }
    for (const ran of await Promise.all(readers)) {
      expect(ran).toMatchObject({ code: 0, stderr: '' });
      expect(Number(ran.stdout)).toBeGreaterThan(0);
    }
  }

  it('reads on while its server is killed twenty times', async () => {
    await underReaders(async () => {
      for (let i = 0; i < KILLS; i++) {
        const pid = serverInRecord();
        await kill(pid);
        await until('another is started', () => serverInRecord() !== pid);
        // Some die before they are ready, some while they take over, some at work.
        await new Promise((resolve) => setTimeout(resolve, (i * 37) % 400));
      }
    });
    const status = await host.status();
    expect(status.mounts).toMatchObject([{ revision: 2 }]);
    expect(status.mounts[0]!.server_pid).toBe(serverInRecord());
  });

  it('reads on while the keeper is killed and started again, and servers with it in turn', async () => {
    await underReaders(async () => {
      for (let i = 0; i < 6; i++) {
        const { keeper, server } = await pids();
        await kill(keeper);
        // A command starts the next one, which takes the mount over from its living server.
        const after = await pids();
        expect(after.keeper).not.toBe(keeper);
        expect(after.server).toBe(server);
        await kill(server);
        await until('the new keeper starts a server', () => serverInRecord() !== server);
      }
    });
  });

  it('is held by the earlier spare until the new keeper has one of its own', async () => {
    const { keeper, server } = await pids();
    const earlier = await spareInRecord();
    // The next keeper cannot start a spare.
    const log = path.join(host.runDir, 'spare.log');
    fs.renameSync(log, `${log}.aside`);
    fs.mkdirSync(log);
    await underReaders(async () => {
      await kill(keeper);
      const { keeper: next } = await pids();
      expect(alive(earlier)).toBe(true);
      for (const pid of [next, server]) process.kill(pid, 'SIGKILL');
      await until('both are gone', () => !alive(next) && !alive(server));
      fs.rmdirSync(log);
      const after = await pids();
      expect(after.keeper).not.toBe(next);
    });
    await until('the new spare is warm', () => !alive(earlier));
    expect(await spareInRecord()).not.toBe(earlier);
  });

  it('serves on without a keeper, and unmounts through a new one', async () => {
    const { keeper, server } = await pids();
    await kill(keeper);
    expect(await reads()).toEqual(WELL);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0, stderr: '' });
    expect(host.mountsBelow()).toEqual([]);
    await until('the server has ended', () => !alive(server));
    await until('nothing is left of it', () => fs.readdirSync(path.join(host.runDir, 'mounts')).length === 0 && fs.readdirSync(path.join(host.runDir, 'keeper')).length === 0);
  });

  it('takes over mounts that were made by its predecessor beside new ones', async () => {
    const { keeper } = await pids();
    await kill(keeper);
    const second = await host.mount({ ...repository.mountSource, name: 'second' });
    const { mounts } = await host.status();
    expect(mounts.map(({ mountpoint }) => mountpoint).sort()).toEqual([info.mountpoint, second.mountpoint].sort());
    expect(new Set(mounts.map((mount) => mount.keeper_pid)).size).toBe(1);
    expect((await host.tryMount(repository.mountSource)).code).toBe(8);
    for (const { server_pid: pid } of mounts) await kill(pid);
    expect(await reads()).toEqual(WELL);
  });

  it('notices that a mount was taken away while no keeper lived', async () => {
    const { keeper, server } = await pids();
    await kill(keeper);
    expect((await host.outside('umount', [info.mountpoint])).code).toBe(0);
    await until('the server has ended', () => !alive(server));
    expect(await host.status()).toMatchObject({ mounts: [] });
    expect(fs.readdirSync(path.join(host.runDir, 'mounts'))).toEqual([]);
    expect((await host.mount(repository.mountSource)).mountpoint).toBe(info.mountpoint);
    expect(await reads()).toEqual(WELL);
  });

  it('notices that a mount which it took over is unmounted by somebody else', async () => {
    const { keeper } = await pids();
    await kill(keeper);
    const { keeper: next, server } = await pids();
    expect((await host.outside('umount', [info.mountpoint])).code).toBe(0);
    await until('the server has ended', () => !alive(server));
    await until('the keeper knows', async () => (await host.status()).mounts.length === 0);
    await until('nothing is left of it', () => fs.readdirSync(path.join(host.runDir, 'keeper')).length === 0);
    await until('the keeper ends', () => !alive(next), 30_000);
  });

  it('says that a mount is dead when keeper, server and spare were killed, and takes it away', async () => {
    const shell = Shell.in(host, tree());
    await shell.ask('ls');
    const { keeper, server } = await pids();
    const spare = await spareInRecord();
    for (const pid of [keeper, spare, server]) process.kill(pid, 'SIGKILL');
    await until('all are gone', () => !alive(keeper) && !alive(server) && !alive(spare));
    const { mounts, warnings } = await host.status();
    expect(mounts).toEqual([]);
    expect(warnings.join('\n')).toMatch(new RegExp(`death\\.example\\.org at ${info.mountpoint} is dead: .*run mesos-cvmfs umount`));
    const again = await host.tryMount(repository.mountSource);
    expect(again).toMatchObject({ code: 8 });
    // A process is still inside, and its tree answers errors: that keeps nobody from cleaning up.
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0, stderr: '' });
    expect(host.mountsBelow()).toEqual([]);
    expect(fs.readdirSync(path.join(host.runDir, 'mounts'))).toEqual([]);
    expect(fs.readdirSync(path.join(host.runDir, 'keeper'))).toEqual([]);
    expect((await host.mount(repository.mountSource)).mountpoint).toBe(info.mountpoint);
    expect(await reads()).toEqual(WELL);
  });

  it('tells a server to serve that its predecessor had only started', async () => {
    for (let round = 0; round < 3; round++) {
      const { keeper, server } = await pids();
      await kill(server);
      await until('another server is started', () => serverInRecord() !== server);
      process.kill(keeper, 'SIGKILL');
      const started = serverInRecord();
      await until('the keeper is gone', () => !alive(keeper));
      const waiting = reads();
      expect((await pids()).server).toBe(started);
      expect(await waiting).toEqual(WELL);
    }
  });

  it('keeps a mount whose end its predecessor had only intended', async () => {
    const { keeper, server } = await pids();
    await kill(keeper);
    const record = path.join(host.runDir, 'keeper', `${info.id}.json`);
    fs.writeFileSync(record, JSON.stringify({ ...(JSON.parse(fs.readFileSync(record, 'utf8')) as object), phase: 'unmounting' }));
    expect((await pids()).server).toBe(server);
    expect(await reads()).toEqual(WELL);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    expect(host.mountsBelow()).toEqual([]);
  });

  it('leaves nothing half-made when the keeper is killed while it mounts', async () => {
    repository.server.behave = (url) => (url.endsWith('.cvmfspublished') ? { kind: 'delay', ms: 3_000 } : undefined);
    try {
      const { keeper } = await pids();
      const asked = repository.manifestRequests;
      const mounting = host.tryMount({ ...repository.mountSource, name: 'half' });
      await until('the second server asks for the manifest', () => repository.manifestRequests > asked);
      const half = host.servers().filter((pid) => pid !== serverInRecord());
      await kill(keeper);
      const failed = await mounting;
      expect(failed.code).not.toBe(0);
      expect(failed.stderr).toMatch(/keeper/);
      expect(host.mountsBelow()).toEqual([info.mountpoint]);
      repository.server.behave = () => undefined;
      expect((await host.status()).mounts.map(({ mountpoint }) => mountpoint)).toEqual([info.mountpoint]);
      await until('the server that never served has ended', () => !half.some(alive));
      await until('only one record is left', () => fs.readdirSync(path.join(host.runDir, 'keeper')).length === 1);
      expect((await host.mount({ ...repository.mountSource, name: 'half' })).repository).toBe('death.example.org');
    } finally {
      repository.server.behave = () => undefined;
    }
  });

  it('starts servers again while no repository server can be reached', async () => {
    expect(await reads()).toEqual(WELL);
    repository.server.behave = () => ({ kind: 'reset' });
    try {
      for (let i = 0; i < 3; i++) {
        const pid = serverInRecord();
        await kill(pid);
        expect(await reads()).toEqual(WELL);
        await until('another is started', () => serverInRecord() !== pid);
      }
    } finally {
      repository.server.behave = () => undefined;
    }
  });

  it('replaces a server that is stopped by a signal of its own', async () => {
    const { server } = await pids();
    process.kill(server, 'SIGTERM');
    await until('it has ended', () => !alive(server));
    expect(await reads()).toEqual(WELL);
    expect((await pids()).server).not.toBe(server);
  });
});
