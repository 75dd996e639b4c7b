/** A mount that nobody can serve for a while: its readers wait and can be killed, people are told why, and it goes on by itself. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { startTicks } from '../../src/fuse/process-identity';
import { MadeRepository } from '../support/made-repository';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(180_000);

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

for (const [kernel, env] of [
  ['that repeats requests', {}],
  ['that does not', { MESOS_CVMFS_FORCE_CLONES: '1' }],
] as const) {
  describeWithMounts(`a mount that nobody can serve, on a kernel ${kernel}`, () => {
    let repository: MadeRepository;
    let host: TestHost;
    let info: MountInfo;

    beforeAll(async () => {
      repository = await MadeRepository.create('unserved.example.org');
      repository.write({ 'early': 'early', 'late/.cvmfscatalog': '', 'late/file': 'late' });
      await repository.publish();
    });

    beforeEach(async () => {
      host = new TestHost();
      info = await host.mount({ ...repository.mountSource, env });
    });

    afterEach(async () => {
      repository.server.behave = () => undefined;
      await host.end();
    });

    afterAll(() => repository.end());

    const broken = (): string => `${host.cacheDir}.away`;
    const serverInRecord = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'keeper', `${info.id}.json`), 'utf8')) as { server: { pid: number } }).server.pid;

    /** Takes the cache away, and with it whoever has it open already: from now on no server can begin. */
    async function breakCache(): Promise<void> {
      const server = serverInRecord();
      const spare = (): number => (JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number }).pid;
      await until('there is a spare', () => spare() !== server && alive(spare()));
      fs.renameSync(host.cacheDir, broken());
      fs.writeFileSync(host.cacheDir, 'not a directory');
      const before = spare();
      process.kill(before, 'SIGKILL');
      process.kill(server, 'SIGKILL');
      await until('both are gone', () => !alive(server) && !alive(before));
    }

    function mendCache(): void {
      fs.rmSync(host.cacheDir);
      fs.renameSync(broken(), host.cacheDir);
    }

    it('lets its readers wait, says so, and serves again when the cause is gone', async () => {
      const shell = Shell.in(host, info.mountpoint);
      await shell.ask('true');
      await breakCache();
      const waiting = shell.ask('cat early');
      await until('the reason is known', async () => /ENOTDIR|EEXIST|not a directory/i.test((await host.status()).warnings.join()));
      const { mounts, warnings } = await host.status();
      expect(mounts).toMatchObject([{ repository: 'unserved.example.org', revision: null }]);
      expect(warnings.join('\n')).toMatch(/nobody serves unserved\.example\.org at \S+\/mnt since \S+Z: .*; its readers wait/);
      expect(await host.ok(['status'])).toMatch(/\/mnt +revision \? +nobody serves it/);
      expect((await host.run(['doctor'])).stdout).toMatch(/problem +keeper +nobody serves unserved\.example\.org at \S+\/mnt since/);
      mendCache();
      expect(await waiting).toBe('early');
      await until('status knows', async () => (await host.status()).warnings.every((one) => !one.includes('nobody serves')));
      expect(await shell.ask('cat late/file')).toBe('late');
    });

    it('lets its readers be killed, also those whose request the dead server had in hand', async () => {
      repository.server.behave = (url) => (url.includes('/data/') ? { kind: 'hang' } : undefined);
      const asked = repository.catalogRequests.length;
      const taken = host.start('cat', [path.join(info.mountpoint, 'late/file')]);
      await until('the server has it in hand', () => repository.catalogRequests.length > asked);
      await breakCache();
      const untaken = host.start('cat', [path.join(info.mountpoint, 'no-such-name')]);
      // Long enough for both to be waiting; were they not, they would be killed all the more easily.
      await new Promise((resolve) => setTimeout(resolve, 500));
      for (const child of [taken, untaken]) child.kill('SIGKILL');
      await until('both have ended', () => [taken, untaken].every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null), 10_000);
      mendCache();
      repository.server.behave = () => undefined;
      expect(await host.outside('cat', [path.join(info.mountpoint, 'late/file')])).toEqual({ code: 0, stdout: 'late', stderr: '' });
    });

    it('can be unmounted', async () => {
      await breakCache();
      expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0, stderr: '' });
      expect(host.mountsBelow()).toEqual([]);
      await until('nothing is left of it', () => fs.readdirSync(path.join(host.runDir, 'mounts')).length === 0 && fs.readdirSync(path.join(host.runDir, 'keeper')).length === 0);
    });
  });
}
