/** The live tree through a real mount while revisions change: what is seen at once, what ends as it began, what is asked for. */
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { Shell, until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const LISTING = path.resolve(__dirname, '../support/listing.py');
const ENTRIES = 3_000;

/** Gathers what a process prints, and tells when it has paused. */
class Listing {
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  readonly #ended: Promise<unknown>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#ended = new Promise((resolve) => child.on('close', resolve));
  }

  paused(): Promise<void> {
    return until('the listing has paused', () => this.#stderr.includes('paused'));
  }

  /** The names, when it has gone on to its end. */
  async rest(): Promise<string[]> {
    this.#child.stdin!.write('go on\n');
    await this.#ended;
    if (this.#stderr !== 'paused\n') throw new Error(this.#stderr);
    return this.#stdout.split('\n').slice(0, -1);
  }
}

describeWithMounts('the live tree', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;
  let generation = 0;

  /** Replaces all of the root's entries by others; answers their names. */
  async function publishGeneration(): Promise<string[]> {
    generation += 1;
    fs.rmSync(repository.source, { recursive: true });
    const names = Array.from({ length: ENTRIES }, (_, i) => `generation-${generation}-${String(i).padStart(4, '0')}`);
    repository.write({
      ...Object.fromEntries(names.map((name) => [name, ''])),
      'folder/version': `${generation}\n`,
      'folder/below/version': `${generation}\n`,
      'folder/below/nested/.cvmfscatalog': '',
      'folder/below/nested/version': `${generation}\n`,
    });
    await repository.publish();
    return [...names, 'folder'].sort();
  }

  const shows = (version: number): Promise<void> =>
    until(`the mount shows generation ${version}`, async () => (await host.outside('cat', [path.join(info.mountpoint, 'folder/version')])).stdout === `${version}\n`);
  const unasked = async (): Promise<string[]> => (await host.status()).warnings.filter((text) => text.startsWith('no server could be asked'));
  const names = async (bytes = 32_768): Promise<string[]> => (await host.outside('python3', [LISTING, info.mountpoint, String(bytes)])).stdout.split('\n').slice(0, -1).sort();
  const dropCaches = (): Promise<unknown> => host.outside('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);
  const begin = async (): Promise<Listing> => {
    const listing = new Listing(host.start('python3', [LISTING, info.mountpoint, '512', 'pause', '1000']));
    await listing.paused();
    return listing;
  };

  beforeAll(async () => {
    repository = await MadeRepository.create('live.example.org', { ttlSeconds: 1 });
    await publishGeneration();
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterAll(async () => {
    await host.end();
    await repository.end();
  });

  it.each([
    { how: 'from the server', warm: false, between: false },
    { how: "from the kernel's cache", warm: true, between: false },
    { how: 'from the server, while others list the new revision', warm: false, between: true },
    { how: "from the kernel's cache, while others list the new revision", warm: true, between: true },
  ])('ends a listing in the revision that it began in, read $how', async ({ warm, between }) => {
    await shows(generation);
    await dropCaches();
    const before = warm ? await names() : null;
    const listing = await begin();
    const old = Array.from({ length: ENTRIES }, (_, i) => `generation-${generation}-${String(i).padStart(4, '0')}`);
    const next = await publishGeneration();
    await shows(generation);
    if (between) expect(await names()).toEqual(next);
    const seen = await listing.rest();
    expect([...seen].sort()).toEqual([...old, 'folder'].sort());
    if (before !== null) expect([...seen].sort()).toEqual(before);
    expect(await names(512)).toEqual(next);
    expect(await names()).toEqual(next);
    // The end of the old listing put nothing back into the kernel's cache.
    expect((await host.outside('stat', old.slice(-20).map((name) => path.join(info.mountpoint, name)))).stdout).toBe('');
    expect((await host.outside('stat', ['-c', '%n', ...next.slice(-20).map((name) => path.join(info.mountpoint, name))])).stdout.trim().split('\n')).toHaveLength(20);
  });

  it('ends a listing of a revision that its server knows only from a predecessor', async () => {
    await shows(generation);
    const before = await names();
    await dropCaches();
    const listing = await begin();
    const next = await publishGeneration();
    await shows(generation);
    process.kill((await host.status()).mounts[0]!.server_pid, 'SIGKILL');
    expect((await listing.rest()).sort()).toEqual(before);
    expect(await names()).toEqual(next);
  });

  it('forgets that a name was absent', async () => {
    const fresh = path.join(info.mountpoint, 'fresh');
    expect((await host.outside('cat', [fresh])).stderr).toMatch(/No such file/);
    repository.write({ fresh: 'here now\n' });
    await repository.publish();
    await until('the new name is seen', async () => (await host.outside('cat', [fresh])).stdout === 'here now\n');
    fs.rmSync(path.join(repository.source, 'fresh'));
    await repository.publish();
    await until('the name is gone again', async () => /No such file/.test((await host.outside('cat', [fresh])).stderr));
  });

  it('serves a process whose cwd is in an old revision', async () => {
    const old = generation;
    const shell = Shell.in(host, path.join(info.mountpoint, 'folder/below'));
    expect(await shell.ask('cat version')).toBe(String(old));
    await publishGeneration();
    await shows(generation);
    // What it had never looked at, a nested catalog that nobody had entered, a listing.
    expect(await shell.ask('cat nested/version version; ls')).toBe(`${old}\n${old}\nnested\nversion`);
    await dropCaches();
    expect(await shell.ask('cat nested/version version; ls')).toBe(`${old}\n${old}\nnested\nversion`);
    process.kill((await host.status()).mounts[0]!.server_pid, 'SIGKILL');
    await dropCaches();
    expect(await shell.ask('cat nested/version version; ls -l nested | wc -l')).toBe(`${old}\n${old}\n2`);
    // And whoever comes by the path sees the new one.
    expect((await host.outside('cat', [path.join(info.mountpoint, 'folder/below/nested/version')])).stdout).toBe(`${generation}\n`);
  });

  it('asks for a new revision once in a time to live, however much is read', async () => {
    await shows(generation);
    const since = Date.now();
    const before = repository.manifestRequests;
    const script = 'end=$(($(date +%s)+3)); while [ $(date +%s) -lt $end ]; do for i in 1 2 3 4 5 6 7 8 9; do stat "$1/folder" "$1/absent-$i" > /dev/null 2>&1; done; done';
    await Promise.all([host.outside('sh', ['-c', script, 'sh', info.mountpoint]), host.outside('sh', ['-c', script, 'sh', info.mountpoint])]);
    const asked = repository.manifestRequests - before;
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual(Math.floor((Date.now() - since) / 1_000) + 1);
  });

  it('goes on with what it has while no server answers, and asks no more often', async () => {
    await shows(generation);
    const before = repository.manifestRequests;
    const since = Date.now();
    repository.server.behave = () => ({ kind: 'status', status: 503 });
    try {
      await until('the mount has noticed', async () => (await unasked()).length > 0);
      for (let i = 0; i < 20; i++) expect((await host.outside('cat', [path.join(info.mountpoint, 'folder/version')])).stdout).toBe(`${generation}\n`);
      expect((await host.outside('stat', [path.join(info.mountpoint, `absent-${since}`)])).stderr).toMatch(/No such file/);
      // Each look may be tried again on the same server, no oftener.
      expect(repository.manifestRequests - before).toBeLessThanOrEqual(2 * (Math.floor((Date.now() - since) / 1_000) + 2));
    } finally {
      repository.server.behave = () => undefined;
    }
    await publishGeneration();
    await shows(generation);
    await until('the warning is gone', async () => (await unasked()).length === 0);
  });

  it('stays on a fixed revision and asks for no other', async () => {
    const { rootHash } = await repository.publish();
    const fixed = await host.mount({ ...repository.mountSource, name: 'fixed', args: ['--root-hash', rootHash] });
    const mine = generation;
    await publishGeneration();
    await shows(generation);
    await dropCaches();
    expect((await host.outside('cat', [path.join(fixed.mountpoint, 'folder/version')])).stdout).toBe(`${mine}\n`);
    expect((await host.outside('getfattr', ['--only-values', '-n', 'user.expires', fixed.mountpoint])).stdout).toBe('never (fixed root catalog)');
    expect((await host.umount(fixed.mountpoint)).code).toBe(0);
  });

  it('asks nothing at all for as long as the repository allows', async () => {
    const calm = await MadeRepository.create('calm.example.org');
    try {
      calm.write({ 'a/b': 'c' });
      await calm.publish();
      const mounted = await host.mount({ ...calm.mountSource, name: 'calm' });
      await host.outside('cat', [path.join(mounted.mountpoint, 'a/b')]);
      const before = calm.server.requests.length;
      await host.outside('sh', ['-c', 'i=0; while [ $i -lt 300 ]; do stat "$1" "$1/a" "$1/a/b" "$1/none"; cat "$1/a/b"; i=$((i+1)); done > /dev/null 2>&1', 'sh', mounted.mountpoint]);
      expect(calm.server.requests.slice(before)).toEqual([]);
    } finally {
      await calm.end();
    }
  });
});
