/** Mounting and unmounting without any service: the keeper comes when it is needed, goes when it is not, and refuses clearly. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { startTicks } from '../../src/fuse/process-identity';
import { MadeRepository } from '../support/made-repository';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const alive = (pid: number): boolean => startTicks(pid) !== undefined;

describeWithMounts('mounting without a service', () => {
  let repository: MadeRepository;
  let other: MadeRepository;
  let host: TestHost;

  beforeAll(async () => {
    repository = await MadeRepository.create('keeper.example.org');
    repository.write({ 'folder/file': 'content\n' });
    await repository.publish();
    other = await MadeRepository.create('other.example.org');
    // The same bytes in both, so that one object serves both.
    other.write({ 'folder/file': 'content\n', 'folder/own': 'of the other\n' });
    await other.publish();
  });

  beforeEach(() => {
    host = new TestHost();
  });

  afterEach(() => host.end());

  afterAll(async () => {
    await repository.end();
    await other.end();
  });

  const file = (mountpoint: string): Promise<{ code: number; stdout: string }> => host.outside('cat', [path.join(mountpoint, 'folder/file')]);
  const mode = (name: string): string => (fs.lstatSync(path.join(host.runDir, name)).mode & 0o7777).toString(8);
  const keeperPid = async (): Promise<number> => (await host.status()).mounts[0]!.keeper_pid;

  it('mounts, shows its state, and unmounts', async () => {
    expect(await host.status()).toMatchObject({ mounts: [] });
    const info = await host.mount(repository.mountSource);
    expect(await file(info.mountpoint)).toMatchObject({ code: 0, stdout: 'content\n' });
    const status = await host.status();
    expect(status.mounts).toMatchObject([{ repository: 'keeper.example.org', mountpoint: info.mountpoint, revision: 2 }]);
    const { keeper_pid: keeper, server_pid: server } = status.mounts[0]!;
    expect(alive(keeper) && alive(server)).toBe(true);
    expect(fs.readlinkSync(`/proc/${keeper}/cwd`)).toBe('/');
    expect(fs.readlinkSync(`/proc/${keeper}/fd/0`)).toBe('/dev/null');
    // Of a session of its own: what ends the terminal does not end it.
    expect(fs.readFileSync(`/proc/${keeper}/stat`, 'latin1').split(') ')[1]!.split(' ')[3]).toBe(String(keeper));
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0, stderr: '' });
    expect(host.mountsBelow()).toEqual([]);
    await until('the server is gone', () => !alive(server));
    expect(fs.readdirSync(path.join(host.runDir, 'mounts'))).toEqual([]);
    expect(fs.readdirSync(path.join(host.runDir, 'keeper'))).toEqual([]);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 4 });
  });

  it('keeps sockets and folders to their owners', async () => {
    const info = await host.mount(repository.mountSource);
    const inRun = path.relative(host.runDir, info.dir);
    expect(mode('')).toBe('711');
    expect(mode('mounts')).toBe('711');
    expect(mode('keeper')).toBe('700');
    expect(mode(`keeper/${info.id}.json`)).toBe('600');
    for (const name of ['keeper.sock', 'keeper.lock', 'keeper.log']) expect(mode(name)).toBe('600');
    expect(mode(inRun)).toBe('700');
    for (const name of fs.readdirSync(info.dir)) expect(`${name} ${mode(`${inRun}/${name}`)}`).toBe(`${name} 600`);
    expect((fs.statSync(host.cacheDir).mode & 0o7777).toString(8)).toBe('700');
  });

  it('refuses directories that others could use', async () => {
    fs.mkdirSync(host.runDir);
    fs.chmodSync(host.runDir, 0o777);
    const refused = await host.tryMount({ ...repository.mountSource });
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/run_dir.*mode 0777.*chmod 0711/);
    expect(host.mountsBelow()).toEqual([]);
  });

  it('ends its keeper some seconds after the last mount has gone, by whomever', async () => {
    const second = new TestHost();
    try {
      const [mine, foreign] = [await host.mount(repository.mountSource), await second.mount(repository.mountSource)];
      const pids = [(await host.status()).mounts[0]!, (await second.status()).mounts[0]!].flatMap((mount) => [mount.keeper_pid, mount.server_pid]);
      expect((await host.umount(mine.mountpoint)).code).toBe(0);
      expect((await host.outside('umount', ['-l', foreign.mountpoint])).code).toBe(0);
      await until('keepers and servers have ended', () => !pids.some(alive), 40_000);
      expect(await second.status()).toMatchObject({ mounts: [] });
      expect(fs.readdirSync(path.join(second.runDir, 'keeper'))).toEqual([]);
      expect(fs.readdirSync(path.join(second.runDir, 'mounts'))).toEqual([]);
    } finally {
      await second.end();
    }
  });

  it('stays while a mount is left, and while only a process holds the tree', async () => {
    const info = await host.mount(repository.mountSource);
    const pid = await keeperPid();
    const shell = Shell.in(host, path.join(info.mountpoint, 'folder'));
    expect(await shell.ask('cat file')).toBe('content');
    const busy = await host.umount(info.mountpoint);
    expect(busy).toMatchObject({ code: 8 });
    expect(busy.stderr).toMatch(/is in use.*--lazy/);
    expect(await file(info.mountpoint)).toMatchObject({ code: 0 });
    expect((await host.umount(info.mountpoint, '--lazy')).code).toBe(0);
    expect(host.mountsBelow()).toEqual([]);
    expect(await host.status()).toMatchObject({ mounts: [] });
    // The process that is inside reads on, even what is to be fetched, until it leaves.
    await host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    expect(await shell.ask('cat file; ls')).toBe('content\nfile');
    expect(alive(pid)).toBe(true);
    // And the place is free for another mount.
    expect((await host.mount(repository.mountSource)).mountpoint).toBe(info.mountpoint);
    expect(await shell.ask('cat file')).toBe('content');
    await shell.ask('cd /');
    await until('nothing of the first mount is left', () => fs.readdirSync(path.join(host.runDir, 'mounts')).length === 1);
  });

  it('mounts once at one place', async () => {
    const info = await host.mount(repository.mountSource);
    for (const again of [repository, other]) {
      const refused = await host.tryMount({ ...again.mountSource });
      expect(refused).toMatchObject({ code: 8 });
      expect(refused.stderr).toMatch(/is mounted at .*unmount it, or choose another directory/);
    }
    const inside = await host.tryMount({ ...other.mountSource, name: 'mnt/folder' });
    expect(inside).toMatchObject({ code: 2 });
    expect(inside.stderr).toMatch(/lies inside the mounted repository/);
    expect(host.mountsBelow()).toEqual([info.mountpoint]);
  });

  it('mounts at one place only once when two ask at the same time', async () => {
    const ran = await Promise.all([1, 2, 3].map(() => host.tryMount({ ...repository.mountSource })));
    expect(ran.map(({ code }) => code).sort()).toEqual([0, 8, 8]);
    expect(host.mountsBelow()).toHaveLength(1);
    expect((await host.status()).mounts).toHaveLength(1);
  });

  it('refuses a mount point that is no directory', async () => {
    fs.writeFileSync(path.join(host.dir, 'taken'), '');
    const refused = await host.tryMount({ ...repository.mountSource, name: 'taken' });
    expect(refused).toMatchObject({ code: 4 });
    expect(refused.stderr).toMatch(/is no directory/);
  });

  it('serves several mounts from one cache', async () => {
    const first = await host.mount({ ...repository.mountSource, name: 'first' });
    expect(await file(first.mountpoint)).toMatchObject({ stdout: 'content\n' });
    const objects = repository.fileRequests.length;
    const again = await host.mount({ ...repository.mountSource, name: 'again' });
    const third = await host.mount({ ...other.mountSource, name: 'third' });
    expect(await file(again.mountpoint)).toMatchObject({ stdout: 'content\n' });
    expect(await file(third.mountpoint)).toMatchObject({ stdout: 'content\n' });
    expect((await host.outside('cat', [path.join(third.mountpoint, 'folder/own')])).stdout).toBe('of the other\n');
    // Fetched once for all three.
    expect(repository.fileRequests.length).toBe(objects);
    expect(other.fileRequests.length).toBe(1);
    const { mounts } = await host.status();
    expect(mounts.map(({ repository: name }) => name).sort()).toEqual(['keeper.example.org', 'keeper.example.org', 'other.example.org']);
    expect(new Set(mounts.map((mount) => mount.keeper_pid)).size).toBe(1);
    expect(new Set(mounts.map((mount) => mount.server_pid)).size).toBe(3);
    expect((await host.umount(first.mountpoint)).code).toBe(0);
    expect(await file(again.mountpoint)).toMatchObject({ code: 0 });
    expect((await host.status()).mounts).toHaveLength(2);
  });

  it('unmounts when a mount in the foreground is asked to end', async () => {
    const mountpoint = path.join(host.dir, 'mnt');
    const { fqrn, servers, publicKey } = repository.mountSource;
    const child = host.startCommand(['mount', fqrn, mountpoint, '--server', servers[0]!, '--public-key', publicKey, '--cache-dir', host.cacheDir, '--foreground']);
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
    await until('it is mounted', () => host.mountsBelow().length === 1);
    await until('it is usable', async () => (await file(mountpoint)).code === 0);
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(host.mountsBelow()).toEqual([]);
  });

  it('ends a mount in the foreground when somebody unmounts it', async () => {
    const mountpoint = path.join(host.dir, 'mnt');
    const { fqrn, servers, publicKey } = repository.mountSource;
    const child = host.startCommand(['mount', fqrn, mountpoint, '--server', servers[0]!, '--public-key', publicKey, '--cache-dir', host.cacheDir, '--foreground']);
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
    await until('it is usable', async () => (await file(mountpoint)).code === 0);
    expect((await host.umount(mountpoint)).code).toBe(0);
    expect(await ended).toBe(0);
  });

  it('unmounts when the foreground was asked to end before the mount was made', async () => {
    repository.server.behave = (url) => (url.endsWith('.cvmfspublished') ? { kind: 'delay', ms: 1_500 } : undefined);
    try {
      const mountpoint = path.join(host.dir, 'mnt');
      const { fqrn, servers, publicKey } = repository.mountSource;
      const asked = repository.manifestRequests;
      const child = host.startCommand(['mount', fqrn, mountpoint, '--server', servers[0]!, '--public-key', publicKey, '--cache-dir', host.cacheDir, '--foreground']);
      const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
      await until('the manifest is asked for', () => repository.manifestRequests > asked);
      child.kill('SIGTERM');
      expect(await ended).toBe(0);
      expect(host.mountsBelow()).toEqual([]);
    } finally {
      repository.server.behave = () => undefined;
    }
  });

  it('leaves nothing behind when a mount fails', async () => {
    const failed = await host.tryMount({ ...repository.mountSource, servers: [`${repository.server.url}/nowhere`] });
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toMatch(/keeper\.example\.org/);
    expect(host.mountsBelow()).toEqual([]);
    expect(fs.readdirSync(path.join(host.runDir, 'mounts'))).toEqual([]);
    expect(fs.readdirSync(path.join(host.runDir, 'keeper'))).toEqual([]);
    expect(await host.status()).toMatchObject({ mounts: [] });
    expect((await host.mount(repository.mountSource)).repository).toBe('keeper.example.org');
  });

  it('refuses the record of a newer version, and leaves its mount alone', async () => {
    const info = await host.mount(repository.mountSource);
    const { keeper_pid: keeper, server_pid: server } = (await host.status()).mounts[0]!;
    const record = path.join(host.runDir, 'keeper', `${info.id}.json`);
    process.kill(keeper, 'SIGKILL');
    await until('the keeper is gone', () => !alive(keeper));
    fs.writeFileSync(record, JSON.stringify({ ...(JSON.parse(fs.readFileSync(record, 'utf8')) as object), version: 99 }));
    fs.writeFileSync(path.join(host.runDir, 'keeper', 'aaaaaaaaaaaa.json'), '{"version":1,');
    const { mounts, warnings } = await host.status();
    expect(mounts).toEqual([]);
    expect(warnings.join('\n')).toMatch(new RegExp(`${record} has version 99, this program knows versions up to 1; use the newer mesos-cvmfs`));
    expect(warnings.join('\n')).toMatch(/aaaaaaaaaaaa\.json/);
    expect(warnings.join('\n')).toMatch(new RegExp(`is mounted at ${info.mountpoint}`));
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 4 });
    expect(alive(server)).toBe(true);
    expect(await file(info.mountpoint)).toMatchObject({ stdout: 'content\n' });
    expect(fs.existsSync(record)).toBe(true);
  });

  it('refuses a run_dir whose sockets would have too long a path', async () => {
    const source = repository.mountSource;
    // One for which not even the keeper's socket fits, and one for which only those of the servers do not.
    for (const length of [120, 85]) {
      const narrow = new TestHost({ runDir: 'r'.repeat(length - host.dir.length - 1) });
      try {
        const refused = await narrow.tryMount(source);
        expect(refused).toMatchObject({ code: 3 });
        expect(refused.stderr).toMatch(/107.*shorter run_dir/);
        expect(narrow.mountsBelow()).toEqual([]);
      } finally {
        await narrow.end();
      }
    }
  });
});
