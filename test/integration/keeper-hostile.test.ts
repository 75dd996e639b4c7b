/** What a file system server's user, once taken over, can put into its folder: root is led nowhere and the keeper goes on. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

describeWithMounts('the folder of a server that was taken over', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;

  beforeAll(async () => {
    repository = await MadeRepository.create('hostile.example.org');
    repository.write({ file: 'content\n' });
    await repository.publish();
  });

  beforeEach(async () => {
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterEach(() => host.end());
  afterAll(() => repository.end());

  const reads = async (): Promise<boolean> => (await host.outside('cat', [path.join(info.mountpoint, 'file')], { timeoutMs: 10_000 })).stdout === 'content\n';
  const pids = async (): Promise<{ server: number; keeper: number }> => {
    const { server_pid: server, keeper_pid: keeper } = (await host.status()).mounts[0]!;
    return { server, keeper };
  };

  it.each(['a link', 'a fifo', 'a folder'])('may hold %s in place of its log: the next server waits until it is gone, and comes', async (what) => {
    const log = path.join(info.dir, 'server.log');
    const precious = path.join(host.dir, 'precious');
    fs.writeFileSync(precious, 'x');
    fs.rmSync(log);
    if (what === 'a link') fs.symlinkSync(precious, log);
    else if (what === 'a folder') fs.mkdirSync(log);
    else await host.outside('mkfifo', [log]);
    const { server } = await pids();
    process.kill(server, 'SIGKILL');
    await until('the keeper has refused', () => fs.readFileSync(path.join(host.runDir, 'keeper.log'), 'utf8').includes('file system server did not start'));
    fs.rmSync(log, { recursive: true });
    await until('another one serves', reads);
    expect(fs.readFileSync(precious, 'utf8')).toBe('x');
  });

  it('may hold folders: they keep no keeper from starting', async () => {
    fs.mkdirSync(path.join(info.dir, 'planted/deep'), { recursive: true });
    const { server, keeper } = await pids();
    process.kill(keeper, 'SIGKILL');
    process.kill(server, 'SIGKILL');
    await host.outside('umount', ['-l', info.mountpoint]);
    expect(await host.status()).toMatchObject({ mounts: [] });
    info = await host.mount(repository.mountSource);
    expect(await reads()).toBe(true);
  });

  it('costs the keeper no descriptor for each server that dies', async () => {
    const { keeper } = await pids();
    const open = (): number => fs.readdirSync(`/proc/${keeper}/fd`).length;
    const killed = new Set<number>();
    const killNext = async (): Promise<void> => {
      await until('another server', async () => !killed.has((await pids()).server) && (await pids()).server !== null);
      const { server } = await pids();
      killed.add(server);
      process.kill(server, 'SIGKILL');
      expect(await reads()).toBe(true);
    };
    await killNext();
    const before = open();
    for (let i = 0; i < 8; i++) await killNext();
    await until('no more descriptors than before', () => open() <= before);
    expect(fs.readdirSync(path.join(host.runDir, 'keeper'))).toEqual([`${info.id}.json`]);
  });
});
