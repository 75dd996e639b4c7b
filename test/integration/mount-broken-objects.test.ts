/** Objects that a server does not have, damages or never sends: EIO for what needs them, all else goes on, and no longer than that. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { objectFile, objectName } from '../../src/cache/object-name';
import { ForgedRepository, hashOf } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import type { Behaviour } from '../support/http-server';
import { look, lookAt } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';

const BAD = 'what is hard to get\n';
const CHUNK = 128 << 10;
const NESTED = { ...DIRECTORY, flags: 1 | 2 };
const NESTED_ROOT = { ...DIRECTORY, flags: 1 | 32 };
const CHUNKED = 4 | 64;

interface Status {
  readonly mounts: ReadonlyArray<{ readonly server_pid: number; readonly details: { readonly ioErrors: number; readonly recentErrors: ReadonlyArray<{ readonly path: string; readonly message: string }> } }>;
}

describeWithMounts('a server with broken objects', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo;
  let bad: Stored;
  let nested: Stored;
  const chunks = [0, 1, 2].map(() => randomBytes(CHUNK));
  let chunkObjects: Stored[];
  let root: Stored;

  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host);
    const badRow = repository.file('/bad', BAD);
    bad = badRow.stored;
    nested = repository.catalog({
      properties: { root_prefix: '/sub' },
      rows: [{ path: '/sub', ...NESTED_ROOT }, repository.file('/sub/inner', 'inside\n')],
    });
    chunkObjects = chunks.map((bytes) => repository.put('chunk', bytes));
    root = repository.catalog({
      rows: [ROOT, badRow, repository.file('/good', 'good\n'), { path: '/sub', ...NESTED }, { path: '/big', flags: CHUNKED, hash: null, size: 3 * CHUNK }, { path: '/dir', ...DIRECTORY }, repository.file('/dir/far', 'far\n')],
      chunks: chunkObjects.map((stored, i) => ({ path: '/big', offset: i * CHUNK, size: CHUNK, hash: stored.hash.digest })),
      nested: [{ path: '/sub', sha1: hashOf(nested), size: nested.size }],
    });
    repository.publish(root);
  });
  beforeEach(async () => {
    fs.rmSync(host.cacheDir, { recursive: true, force: true });
    info = await host.mount(repository.mountOptions());
  });
  afterEach(async () => {
    repository.server.behave = () => undefined;
    expect(await host.umount(info.mountpoint, '--lazy')).toMatchObject({ code: 0 });
  });
  afterAll(async () => {
    await host.end();
    await repository.close();
  });

  const at = (name: string): string => path.join(info.mountpoint, name);
  const misbehave = (object: Stored, how: Behaviour): void => void (repository.server.behave = (url) => (url === object.url ? how : undefined));
  const repair = (): void => void (repository.server.behave = () => undefined);
  const log = (): string => fs.readFileSync(path.join(info.dir, 'server.log'), 'utf8');
  const status = async (): Promise<Status> => (await host.status()) as unknown as Status;

  const FAULTS: ReadonlyArray<readonly [string, Behaviour, RegExp]> = [
    ['missing', { kind: 'status', status: 404 }, /404/],
    ['altered', { kind: 'corrupt' }, /hash|right bytes/],
    ['truncated', { kind: 'truncate', bytes: 5 }, /5 of \d+|broke off|short/],
    ['cut, with a length that fits', { kind: 'body', body: Buffer.alloc(5) }, /right bytes/],
    ['refused', { kind: 'status', status: 500 }, /500/],
    ['never sent', { kind: 'hang' }, /UND_ERR|timeout|too slow|time|ms/],
    ['half sent', { kind: 'stall', bytes: 5 }, /below 1024 B/],
  ];

  it.each(FAULTS)('an object that is %s: its reader gets EIO until it is mended', async (_, how, reason) => {
    misbehave(bad, how);
    expect(await look(host, [['read', at('bad')], ['read', at('good')], ['stat', at('bad')], ['list', at('')]])).toMatchObject([
      { error: 'EIO' },
      { value: 'good\n' },
      { value: { size: BAD.length } },
      { value: ['bad', 'big', 'dir', 'good', 'sub'] },
    ]);
    const line = log().split('\n').find((one) => one.includes('a reader got EIO'))!;
    expect(line).toContain('/bad');
    expect(line).toContain(bad.url.slice(1));
    expect(line).toContain(repository.server.url);
    expect(line).toMatch(reason);
    const [mount] = (await status()).mounts;
    expect(mount!.server_pid).toBe(info.serverPid);
    // The kernel asks for the page again that its read-ahead did not get.
    expect([1, 2]).toContain(mount!.details.ioErrors);
    expect(mount!.details.recentErrors[0]).toEqual(expect.objectContaining({ path: '/bad', message: expect.stringContaining(bad.url.slice(1)) as string }));

    repair();
    expect(await lookAt(host, 'read', at('bad'))).toEqual({ value: BAD });
  });

  it('one chunk of a large file: the others are read', async () => {
    misbehave(chunkObjects[1]!, { kind: 'corrupt' });
    const [first, second, third] = await look(host, [['pread', at('big'), 0, 4096], ['pread', at('big'), CHUNK, 4096], ['pread', at('big'), 3 * CHUNK - 4096, 4096]]);
    expect(first).toEqual({ value: chunks[0]!.subarray(0, 4096).toString('latin1') });
    expect(second).toEqual({ error: 'EIO' });
    expect(third).toEqual({ value: chunks[2]!.subarray(-4096).toString('latin1') });
    repair();
    expect(await lookAt(host, 'read', at('big'))).toEqual({ value: Buffer.concat(chunks).toString('latin1') });
  });

  it.each(FAULTS.filter(([name]) => ['missing', 'altered', 'never sent'].includes(name)))('a nested catalog that is %s: EIO below it, and nowhere else', async (_, how) => {
    misbehave(nested, how);
    expect(await look(host, [['stat', at('sub')], ['list', at('sub')], ['stat', at('sub/inner')], ['stat', at('sub/none')], ['read', at('dir/far')], ['list', at('')]])).toMatchObject([
      { value: { mode: 0o040755 } },
      { error: 'EIO' },
      { error: 'EIO' },
      { error: 'EIO' },
      { value: 'far\n' },
      { value: ['bad', 'big', 'dir', 'good', 'sub'] },
    ]);
    expect(log()).toContain(nested.url.slice(1));
    repair();
    expect(await look(host, [['list', at('sub')], ['read', at('sub/inner')], ['stat', at('sub/none')]])).toEqual([{ value: ['inner'] }, { value: 'inside\n' }, { error: 'ENOENT' }]);
    expect((await status()).mounts[0]!.server_pid).toBe(info.serverPid);
  }, 30_000);

  it('what is damaged on the disk is fetched again', async () => {
    await look(host, [['read', at('good')], ['read', at('sub/inner')]]);
    await host.umount(info.mountpoint);
    const inCache = (stored: Stored): string => objectFile(host.cacheDir, objectName({ hash: stored.hash, compression: 'zlib' }));
    // Damage of the same length, as a bad disk makes it.
    for (const catalog of [root, nested]) fs.writeFileSync(inCache(catalog), Buffer.alloc(catalog.size, 0x5a));
    const good = repository.put('file', 'good\n');
    fs.truncateSync(inCache(good), 2);
    info = await host.mount(repository.mountOptions());
    expect(await look(host, [['read', at('good')], ['list', at('sub')], ['read', at('sub/inner')]])).toEqual([{ value: 'good\n' }, { value: ['inner'] }, { value: 'inside\n' }]);
  });

  it.each(['SIGKILL', 'SIGINT'] as const)('who waits for an object can be ended by %s, and others do not notice', async (signal) => {
    repository.configure({ request_deadline: '60s', timeout_direct: '60s' });
    await host.umount(info.mountpoint);
    info = await host.mount(repository.mountOptions());
    repository.configure({});
    misbehave(bad, { kind: 'hang' });
    const before = repository.server.count(bad.url);
    const cat = host.start('cat', [at('bad')]);
    const ended = new Promise<string | null>((resolve) => cat.once('exit', (_, by) => resolve(by)));
    while (repository.server.count(bad.url) === before) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await lookAt(host, 'read', at('good'))).toEqual({ value: 'good\n' });
    cat.kill(signal);
    const late = new Promise<'still there'>((resolve) => setTimeout(() => resolve('still there'), 5_000).unref());
    expect(await Promise.race([ended, late])).toBe(signal);
    expect((await status()).mounts[0]).toMatchObject({ server_pid: info.serverPid, details: { ioErrors: 0 } });
  });
});
