/** Contents through a real mount: programs that run from it, maps, chunks, hard links, reads at every offset. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const MIB = 1 << 20;
/** Cut small, so that files of a few MiB have many chunks and reads cross their borders. */
const CHUNKS = { min: 64 * 1024, avg: 128 * 1024, max: 256 * 1024 };

/** Compares a file with another at many offsets: `same`, or where they differ. Maps both as well. */
const COMPARE = `
import mmap, os, random, sys
ours, theirs, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(seed)
size = os.stat(theirs).st_size
assert os.stat(ours).st_size == size, (os.stat(ours).st_size, size)
a, b = os.open(ours, os.O_RDONLY), os.open(theirs, os.O_RDONLY)
offsets = [0, 1, size - 1, size, size + 1, size + 10 * 4096] + [random.randrange(size + 1) for _ in range(300)]
for at in offsets:
    length = random.choice([1, 7, 511, 4096, 65536, 131072, 1 << 20, 3 << 20])
    if os.pread(a, length, at) != os.pread(b, length, at):
        sys.exit(f'differs at {at}, {length} bytes')
with mmap.mmap(a, size, prot=mmap.PROT_READ) as m, mmap.mmap(b, size, prot=mmap.PROT_READ) as n:
    for at in offsets[6:100]:
        if m[at:at + 5000] != n[at:at + 5000]:
            sys.exit(f'map differs at {at}')
print('same')
`;

describeWithMounts('contents', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let info: MountInfo;

  const files: Record<string, Buffer> = {
    'one-object': crypto.randomBytes(3 * MIB + 17),
    'large-and-plain': Buffer.alloc(12 * MIB, 'all the same, all the same; '),
    'just-a-page': crypto.randomBytes(4096),
    'a-byte': Buffer.from('x'),
  };

  beforeAll(async () => {
    repository = await MadeRepository.create('data.example.org');
    repository.write({ ...files, 'empty': '', 'links/first': 'linked\n', 'links/alone': 'alone\n' });
    fs.linkSync(path.join(repository.source, 'links/first'), path.join(repository.source, 'links/second'));
    fs.linkSync(path.join(repository.source, 'links/first'), path.join(repository.source, 'links/third'));
    fs.mkdirSync(path.join(repository.source, 'bin'));
    fs.copyFileSync('/bin/ls', path.join(repository.source, 'bin/ls'));
    fs.chmodSync(path.join(repository.source, 'bin/ls'), 0o4755);
    fs.writeFileSync(path.join(repository.source, 'bin/script'), '#!/bin/sh\necho "script says $1"\n', { mode: 0o755 });
    fs.writeFileSync(path.join(repository.source, 'bin/secret'), 'only for root\n', { mode: 0o600 });
    await repository.publish();
    repository.write({ 'chunked/file': crypto.randomBytes(9 * MIB + 4321) });
    await repository.publish({ part: 'chunked', chunks: CHUNKS });
    host = new TestHost();
    info = await host.mount(repository.mountSource);
  });

  afterAll(async () => {
    await host.end();
    await repository.end();
  });

  const inMount = (name: string): string => path.join(info.mountpoint, name);
  const inSource = (name: string): string => path.join(repository.source, name);
  /** Run by a shell: spawning waits for execve(2), which waits for the server in this process. */
  const runs = (...command: string[]): ReturnType<TestHost['outside']> => host.outside('sh', ['-c', 'exec "$@"', 'sh', ...command]);
  const dropCaches = (): Promise<unknown> => host.outside('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);

  it.each([...Object.keys(files), 'chunked/file'])('reads %s at any offset, by read and by map', async (name) => {
    if (name === 'chunked/file') expect(Number((await host.outside('getfattr', ['--only-values', '-n', 'user.chunks', inMount(name)])).stdout)).toBeGreaterThan(30);
    for (const seed of ['1', '2']) {
      await dropCaches();
      expect(await host.outside('python3', ['-c', COMPARE, inMount(name), inSource(name), seed])).toEqual({ code: 0, stdout: 'same\n', stderr: '' });
    }
  });

  it('reads a chunked file from its middle without the rest of it', async () => {
    const fresh = new TestHost();
    try {
      const mounted = await fresh.mount(repository.mountSource);
      const before = repository.fileRequests.length;
      const ran = await fresh.outside('python3', ['-c', 'import os, sys\nf = os.open(sys.argv[1], os.O_RDONLY)\nos.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM)\nsys.stdout.buffer.write(os.pread(f, 10, 5000000).hex().encode())', path.join(mounted.mountpoint, 'chunked/file')]);
      expect(ran.stdout).toBe(fs.readFileSync(inSource('chunked/file')).subarray(5_000_000, 5_000_010).toString('hex'));
      expect(repository.fileRequests.length - before).toBeLessThanOrEqual(2);
    } finally {
      await fresh.end();
    }
  });

  it.each(['one-object', 'large-and-plain', 'chunked/file', 'empty'])('reads %s from beginning to end, by several at once', async (name) => {
    await dropCaches();
    const wanted = crypto.createHash('sha256').update(fs.readFileSync(inSource(name))).digest('hex');
    const sums = await Promise.all([1, 2, 3, 4].map(() => host.outside('sha256sum', [inMount(name)])));
    expect(sums.map(({ stdout }) => stdout.split(' ')[0])).toEqual([wanted, wanted, wanted, wanted]);
  });

  it('runs programs and scripts, without set-user-id on the mount itself', async () => {
    expect((await runs(inMount('bin/ls'), inMount('links'))).stdout).toBe('alone\nfirst\nsecond\nthird\n');
    expect((await runs(inMount('bin/script'), 'hello')).stdout).toBe('script says hello\n');
    expect((await host.outside('stat', ['-c', '%a', inMount('bin/ls')])).stdout).toBe('4755\n');
    expect((await host.outside('findmnt', ['-no', 'OPTIONS', info.mountpoint])).stdout).toMatch(/^ro,nosuid,nodev/);
  });

  it('goes on running programs while servers die', async () => {
    const looping = host.outside('sh', ['-c', 'for i in $(seq 60); do "$1/bin/ls" "$1/links" > /dev/null || exit 1; "$1/bin/script" "$i" || exit 1; done | tail -n 1', 'sh', info.mountpoint]);
    for (let round = 0; round < 3; round++) {
      const pid = (await host.status()).mounts[0]!.server_pid;
      if (pid !== null) process.kill(pid, 'SIGKILL');
      await dropCaches();
    }
    expect(await looping).toEqual({ code: 0, stdout: 'script says 60\n', stderr: '' });
  });

  it('holds other users to the modes inside', async () => {
    const as = (file: string): Promise<{ code: number; stderr: string }> => host.outside('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'cat', file]);
    fs.chmodSync(host.dir, 0o755);
    expect(await as(inMount('links/alone'))).toMatchObject({ code: 0, stdout: 'alone\n' });
    expect((await as(inMount('bin/secret'))).stderr).toMatch(/Permission denied/);
    expect((await as(inMount('.cvmfs-view/.prime'))).stderr).toMatch(/Permission denied/);
    expect((await host.outside('cat', [inMount('bin/secret')])).stdout).toBe('only for root\n');
  });

  it('is read-only', async () => {
    for (const [command, ...args] of [['touch', inMount('new')], ['rm', '-f', inMount('a-byte')], ['mkdir', inMount('dir')], ['chmod', '777', inMount('a-byte')], ['ln', '-s', 'x', inMount('link')], ['setfattr', '-n', 'user.x', '-v', 'y', inMount('a-byte')]] as const) {
      expect((await host.outside(command!, args)).stderr).toMatch(/Read-only file system/);
    }
  });

  it('shows hard links as one file', async () => {
    const { stdout } = await host.outside('stat', ['-c', '%i %h', ...['first', 'second', 'third', 'alone'].map((name) => inMount(`links/${name}`))]);
    const [first, second, third, alone] = stdout.trim().split('\n');
    expect([second, third]).toEqual([first, first]);
    expect(first).toMatch(/ 3$/);
    expect(alone).toMatch(/ 1$/);
    expect((await host.outside('cat', ['first', 'second', 'third'].map((name) => inMount(`links/${name}`)))).stdout).toBe('linked\nlinked\nlinked\n');
    const copy = path.join(host.dir, 'copy');
    expect((await host.outside('cp', ['-a', inMount('links'), copy])).stderr).toBe('');
    expect(fs.statSync(path.join(copy, 'first')).nlink).toBe(3);
  });
});
