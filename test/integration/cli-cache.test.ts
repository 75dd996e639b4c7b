/** `cache usage`, `check` and `wipe`, beside file system servers and without them; `config dump`. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CliScene, FQRN } from '../support/cli-scene';
import { describeWithMounts } from '../support/test-host';

jest.setTimeout(120_000);

interface Usage {
  readonly objects: number;
  readonly bytes: number;
  readonly limitBytes: number;
  readonly owners: readonly unknown[];
}

interface Report {
  readonly objects: number;
  readonly damaged: { readonly count: number; readonly names: readonly string[] };
  readonly sound: boolean;
  readonly repaired: boolean;
}

describeWithMounts('the cache as commands see it', () => {
  let scene: CliScene;
  let mountpoint: string;
  beforeEach(async () => {
    scene = new CliScene();
    mountpoint = path.join(scene.host.dir, 'mnt');
    await scene.create();
    scene.files({ 'images/a/one': 'x'.repeat(50_000), 'images/a/two': 'y'.repeat(60_000) });
    await scene.publish();
    scene.configure((await scene.serveRepository()).url);
    await scene.host.ok(['mount', FQRN, mountpoint, '--config', scene.configFile]);
    await scene.json('image', 'prefetch', `cvmfs://${FQRN}/images/a`);
  });
  afterEach(() => scene.end());

  const umount = async (): Promise<void> => void (await scene.host.ok(['umount', mountpoint, '--config', scene.configFile]));

  /** Changes a byte of a cached file in place, as a bad disk would. */
  function damage(bytes: number): void {
    const objects = path.join(scene.host.cacheDir, 'objects');
    const file = (fs.readdirSync(objects, { recursive: true }) as string[]).map((name) => path.join(objects, name)).find((name) => fs.statSync(name).size === bytes)!;
    const fd = fs.openSync(file, 'r+');
    fs.writeSync(fd, 'DAMAGED', 10);
    fs.closeSync(fd);
  }

  for (const mounted of [true, false]) {
    it(`is shown, checked, repaired and emptied ${mounted ? 'while servers use it' : 'when nobody uses it'}`, async () => {
      if (!mounted) await umount();
      const before = await scene.json<Usage>('cache', 'usage');
      expect(before).toMatchObject({ dir: scene.host.cacheDir, limitBytes: 1e9 });
      expect(before.objects).toBeGreaterThanOrEqual(3);
      expect(before.bytes).toBeGreaterThan(110_000);
      expect((await scene.run('cache', 'usage')).stdout).toMatch(/^cache {4}.*\nobjects {2}\d+\nused {5}[\d.]+ kB of 1\.0 GB\n/);
      expect(await scene.json<Report>('cache', 'check')).toMatchObject({ objects: before.objects, sound: true, repaired: false });

      damage(60_000);
      const found = await scene.run('cache', 'check', '--json');
      expect([found.code, (JSON.parse(found.stderr) as { error: { code: string } }).error.code]).toEqual([6, 'OBJECT_CORRUPT']);
      expect(JSON.parse(found.stdout)).toMatchObject({ sound: false, damaged: { count: 1 } });
      const text = await scene.run('cache', 'check');
      expect([text.code, text.stdout, text.stderr]).toEqual([6, expect.stringContaining('1 damaged objects\n  '), expect.stringContaining('run: mesos-cvmfs cache check --repair')]);
      expect(await scene.json<Report>('cache', 'check', '--repair')).toMatchObject({ damaged: { count: 1 }, sound: true, repaired: true });
      expect(await scene.json<Report>('cache', 'check')).toMatchObject({ objects: before.objects - 1, sound: true });

      const wiped = await scene.json<{ freed_bytes: number }>('cache', 'wipe');
      expect(wiped.freed_bytes).toBeGreaterThan(50_000);
      await scene.json('cache', 'wipe', '--force');
      expect((await scene.json<Usage>('cache', 'usage')).objects).toBe(0);
      if (!mounted) await scene.host.ok(['mount', FQRN, mountpoint, '--config', scene.configFile]);
      // Nothing is lost: what is needed is fetched again.
      const read = await scene.host.outside('sha256sum', [path.join(mountpoint, 'images/a/two')]);
      expect(read.stdout).toContain(execFileSync('sha256sum', [path.join(scene.source, 'images/a/two')]).toString().slice(0, 64));
    });
  }

  it('is opened as the user that it belongs to', async () => {
    await umount();
    // The folder above it is closed to others, as temporary folders are.
    fs.chmodSync(scene.host.dir, 0o711);
    execFileSync('chown', ['-R', '65534:65534', scene.host.cacheDir]);
    expect(await scene.json<Report>('cache', 'check', '--repair')).toMatchObject({ sound: true });
    expect(await scene.json('cache', 'wipe', '--force')).toMatchObject({ freed_bytes: expect.any(Number) });
    const owners = new Set(['.', ...(fs.readdirSync(scene.host.cacheDir, { recursive: true }) as string[])].map((name) => fs.statSync(path.join(scene.host.cacheDir, name)).uid));
    expect([...owners]).toEqual([65534]);
  });

  it('is not made by looking at it', async () => {
    const absent = path.join(scene.host.dir, 'absent');
    const { code, stderr } = await scene.run('cache', 'usage', '--cache-dir', absent);
    expect([code, stderr]).toEqual([4, `mesos-cvmfs: there is no cache in ${absent}; the first mount makes it; else give --cache-dir\n`]);
    expect(fs.existsSync(absent)).toBe(false);
  });
});

describeWithMounts('config dump', () => {
  let scene: CliScene;
  beforeEach(async () => {
    scene = new CliScene();
    await scene.create();
    scene.configure('http://s1.cli.test/cvmfs/@fqrn@', '[repositories."bad.cli.test"]\n[repositories."elsewhere.cli.test"]\nmount = "external"\n');
  });
  afterEach(() => scene.end());

  interface Dump {
    readonly file: string;
    readonly entries: ReadonlyArray<{ readonly key: string; readonly value: unknown; readonly origin: string }>;
    readonly errors: readonly string[];
  }

  it('shows every value once with its origin, and what keeps a repository from being put together', async () => {
    const { code, stdout, stderr } = await scene.run('config', 'dump', '--json');
    expect([code, stderr]).toEqual([3, expect.stringContaining('no server is configured for bad.cli.test')]);
    const { file, entries, errors } = JSON.parse(stdout) as Dump;
    expect([file, errors]).toEqual([scene.configFile, [expect.stringContaining('bad.cli.test')]]);
    const found = new Map(entries.map((entry) => [entry.key, entry]));
    expect(found.size).toBe(entries.length);
    expect(found.get('state_dir')).toMatchObject({ value: `${scene.host.dir}/state`, origin: `${scene.configFile}:1` });
    expect(found.get('run_dir')).toMatchObject({ value: scene.host.runDir, origin: '--run-dir' });
    expect(found.get('cache.limit')).toMatchObject({ value: '1 GB', origin: expect.stringContaining('config.toml:') });
    expect(found.get('fuse.driver')).toMatchObject({ value: 'kernel', origin: 'default' });
    expect(found.get(`repositories."${FQRN}".servers`)).toMatchObject({ value: [`http://s1.cli.test/cvmfs/${FQRN}`], origin: `${scene.configFile}:6` });
    expect(found.get(`repositories."${FQRN}".timeout`)).toMatchObject({ value: '5s', origin: 'default' });
    expect(found.get('repositories."elsewhere.cli.test".mount')).toMatchObject({ value: 'external' });
  });

  it('is a table for people', async () => {
    scene.configure('http://s1.cli.test/cvmfs/@fqrn@');
    const text = await scene.host.ok(['config', 'dump', '--config', scene.configFile]);
    expect(text).toMatch(/^state_dir +".*\/state" +.*config\.toml:1$/m);
    expect(text).toMatch(/^repositories\."images\.cli\.test"\.max_ttl +"1s" +.*config\.toml:8$/m);
  });

  it('needs the file that it is given', async () => {
    const { code, stderr } = await scene.host.run(['config', 'dump', '--config', `${scene.host.dir}/none.toml`]);
    expect([code, stderr]).toEqual([3, expect.stringContaining('none.toml does not exist')]);
  });
});
