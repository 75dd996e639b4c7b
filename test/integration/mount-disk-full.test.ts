/** A cache whose disk is smaller than what is read through it: everything is read, and right. */
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { ForgedRepository, hashOf } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';

const DISK_BYTES = 8 << 20;
const FILES = 48;
const FILE_BYTES = 512 << 10;
const LARGE_BYTES = 12 << 20;
/** More than is kept in memory for one reader. */
const TOO_LARGE_BYTES = 40 << 20;

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describeWithMounts('a cache on a disk that is too small', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo;
  const wanted = new Map<string, string>();

  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host);
    fs.mkdirSync(host.cacheDir, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=0700`, 'tmpfs', host.cacheDir]);
    const file = (name: string, bytes: Buffer): ReturnType<ForgedRepository['file']> => {
      wanted.set(name.slice(1), sha(bytes));
      return repository.file(name, bytes);
    };
    const nested = [0, 1].map((i) =>
      repository.catalog({
        properties: { root_prefix: `/n${i}` },
        rows: [{ path: `/n${i}`, ...DIRECTORY, flags: 1 | 32 }, ...Array.from({ length: FILES / 2 }, (_, j) => file(`/n${i}/f${j}`, randomBytes(FILE_BYTES)))],
      }),
    );
    repository.publish(
      repository.catalog({
        rows: [ROOT, file('/large', randomBytes(LARGE_BYTES)), repository.file('/toolarge', randomBytes(TOO_LARGE_BYTES)), repository.file('/small', 'small\n'), ...nested.map((_, i) => ({ path: `/n${i}`, ...DIRECTORY, flags: 1 | 2 }))],
        nested: nested.map((stored, i) => ({ path: `/n${i}`, sha1: hashOf(stored), size: stored.size })),
      }),
    );
    info = await host.mount(repository.mountOptions());
  }, 60_000);
  afterAll(async () => {
    await host.end();
    await repository.close();
  });

  const at = (name: string): string => path.join(info.mountpoint, name);
  /** Hashes of files as they are read through the mount, by as many readers at a time. */
  async function sums(names: readonly string[], readers: number): Promise<Record<string, string>> {
    const ran = await host.outside('sh', ['-c', `cd "$1" && shift && printf '%s\\0' "$@" | xargs -0 -n 4 -P ${readers} sha256sum`, 'sh', info.mountpoint, ...names], { timeoutMs: 60_000 });
    if (ran.code !== 0) throw new Error(ran.stderr);
    return Object.fromEntries(ran.stdout.trim().split('\n').map((line) => line.split(/\s+/).reverse() as [string, string]));
  }
  const used = (): number => Number(execFileSync('df', ['--output=used', '-B1', host.cacheDir], { encoding: 'utf8' }).split('\n')[1]);

  it('reads a tree of three times its size, in one go and by four readers', async () => {
    const names = [...wanted.keys()].filter((name) => name !== 'large');
    for (const readers of [1, 4]) expect(await sums(names, readers)).toEqual(Object.fromEntries(names.map((name) => [name, wanted.get(name)])));
    expect(used()).toBeLessThanOrEqual(DISK_BYTES);
    expect((await host.status()).mounts).toMatchObject([{ server_pid: info.serverPid, details: { ioErrors: 0 } }]);
  }, 120_000);

  it('reads a file that does not fit on it', async () => {
    expect(await sums(['large'], 1)).toEqual({ large: wanted.get('large') });
  }, 60_000);

  it('reads on when somebody else has filled it', async () => {
    const filler = path.join(host.cacheDir, 'filler');
    const fd = fs.openSync(filler, 'w');
    try {
      for (;;) fs.writeSync(fd, Buffer.alloc(64 << 10));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    } finally {
      fs.closeSync(fd);
    }
    execFileSync('sh', ['-c', 'echo 1 > /proc/sys/vm/drop_caches']);
    const names = [...wanted.keys()].filter((name) => name.startsWith('n1/'));
    expect(await sums(names, 2)).toEqual(Object.fromEntries(names.map((name) => [name, wanted.get(name)])));
    fs.rmSync(filler);
  }, 60_000);

  it('says so for a file that fits neither on it nor in memory, and reads the others', async () => {
    expect(await look(host, [['pread', at('toolarge'), 0, 4096], ['read', at('small')]])).toEqual([{ error: 'EIO' }, { value: 'small\n' }]);
    const log = fs.readFileSync(path.join(info.dir, 'server.log'), 'utf8');
    expect(log).toMatch(/\/toolarge.*(space|room)/);
    expect(await lookAt(host, 'list', at('n0'))).toEqual({ value: Array.from({ length: FILES / 2 }, (_, j) => `f${j}`).sort() });
    expect((await host.status()).mounts).toMatchObject([{ server_pid: info.serverPid }]);
  }, 60_000);
});
