/** Inode numbers as programs see them: 64 bits wide by default, 32 where a mount is told so. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { MadeRepository } from '../support/made-repository';
import { EOVERFLOW, stat32Program } from '../support/stat32';
import { describeWithMounts, TestHost } from '../support/test-host';

jest.setTimeout(120_000);

const DEPTH = 24;
const TWO_32 = 2 ** 32;

/** Whether the kernel runs i386 programs at all. */
function runs32(program: string): boolean {
  try {
    return execFileSync(program, ['/']).length === 8;
  } catch {
    return false;
  }
}

/** For each entry: depth-first path, inode by stat, inode by listing, whether a directory repeats a number of those above it. */
const WALK = `
import os, sys, json
out = []
def walk(path, above):
    with os.scandir(path) as found:
        for entry in sorted(found, key=lambda e: e.name):
            stat = entry.stat(follow_symlinks=False)
            cycle = entry.is_dir(follow_symlinks=False) and stat.st_ino in above
            out.append([entry.path, stat.st_ino, os.lstat(entry.path).st_ino, entry.inode(), cycle])
            if entry.is_dir(follow_symlinks=False): walk(entry.path, above | {stat.st_ino})
walk(sys.argv[1], {os.stat(sys.argv[1]).st_ino})
print(json.dumps(out))
`;

type Walked = Array<[path: string, inode: number, again: number, listed: number, cycle: boolean]>;

describeWithMounts('inode numbers', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let wide: MountInfo;
  let narrow: MountInfo;

  beforeAll(async () => {
    repository = await MadeRepository.create('inodes.example.org');
    let deep = '';
    for (let level = 0; level < DEPTH; level++) {
      deep += `level-${level}/`;
      repository.write({ [`${deep}.cvmfscatalog`]: '', [`${deep}file`]: `level ${level}\n`, [`${deep}beside/file`]: '', [`${deep}beside/folder/`]: '' });
    }
    fs.linkSync(path.join(repository.source, 'level-0/file'), path.join(repository.source, 'level-0/linked'));
    await repository.publish();
    host = new TestHost();
    wide = await host.mount({ ...repository.mountSource, name: 'wide' });
    const config = path.join(host.dir, 'narrow.toml');
    fs.writeFileSync(config, `[repositories."${repository.fqrn}"]\ninode_bits = 32\n`);
    narrow = await host.mount({ ...repository.mountSource, name: 'narrow', args: ['--config', config] });
  });

  afterAll(async () => {
    await host.end();
    await repository.end();
  });

  const walk = async (root: string): Promise<Walked> => {
    const ran = await host.outside('python3', ['-c', WALK, root]);
    if (ran.code !== 0) throw new Error(ran.stderr);
    return JSON.parse(ran.stdout) as Walked;
  };

  it('lets 32-bit programs stat with inode_bits = 32, and only then', async () => {
    const program = path.join(host.dir, 'stat32');
    fs.writeFileSync(program, stat32Program(), { mode: 0o755 });
    if (!runs32(program)) {
      console.warn('not checked with a 32-bit program: this kernel runs none');
      return;
    }
    const deepest = Array.from({ length: DEPTH }, (_, level) => `level-${level}`).join('/');
    for (const file of ['level-0', 'level-0/file', deepest, `${deepest}/file`, `${deepest}/beside/folder`]) {
      expect({ file, code: (await host.outside(program, [path.join(wide.mountpoint, file)])).code }).toEqual({ file, code: EOVERFLOW });
      expect({ file, code: (await host.outside(program, [path.join(narrow.mountpoint, file)])).code }).toEqual({ file, code: 0 });
    }
    // The mounts' own roots have small numbers on both.
    expect((await host.outside(program, [wide.mountpoint])).code).toBe(0);
    expect((await host.outside(program, [narrow.mountpoint])).code).toBe(0);
  });

  it.each(['wide', 'narrow'] as const)('lets find through a deep tree of nested catalogs, in the live tree and in a view (%s)', async (which) => {
    const info = which === 'wide' ? wide : narrow;
    const client = host.client(info);
    const views = [];
    for (const place of ['/', '/level-0', '/level-0/level-1/level-2']) views.push((await client.makeView(await client.snapshot(), Buffer.from(place))).pathInMount.toString());
    client.close();
    for (const root of [info.mountpoint, ...views.map((view) => path.join(info.mountpoint, view))]) {
      const found = await host.outside('find', [root, '-printf', '%i\\n']);
      expect(found.stderr).toBe('');
      expect(found.code).toBe(0);
      expect((await host.outside('du', ['-a', root])).stderr).toBe('');
      const walked = await walk(root);
      expect(walked.length).toBe(found.stdout.trim().split('\n').length - 1);
      expect(walked.filter(([, , , , cycle]) => cycle)).toEqual([]);
      expect(walked.filter(([, inode, again, listed]) => inode !== again || inode !== listed)).toEqual([]);
      if (which === 'narrow') expect(walked.filter(([, inode]) => inode >= TWO_32)).toEqual([]);
      // Nothing but hard links shares a number here, where there are few files.
      expect(new Set(walked.map(([, inode]) => inode)).size).toBe(walked.length - walked.filter(([name]) => name.endsWith('/linked')).length);
    }
  });

  it.each(['wide', 'narrow'] as const)('gives the names of a hard link one number and its count (%s)', async (which) => {
    const { mountpoint } = which === 'wide' ? wide : narrow;
    const { stdout } = await host.outside('stat', ['-c', '%i %h', path.join(mountpoint, 'level-0/file'), path.join(mountpoint, 'level-0/linked')]);
    const [first, second] = stdout.trim().split('\n');
    expect(first).toBe(second);
    expect(first).toMatch(/ 2$/);
  });

  it('keeps the numbers when the server changes', async () => {
    const before = [await walk(wide.mountpoint), await walk(narrow.mountpoint)];
    for (const { server_pid: pid } of (await host.status()).mounts) process.kill(pid, 'SIGKILL');
    await host.outside('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);
    expect([await walk(wide.mountpoint), await walk(narrow.mountpoint)]).toEqual(before);
  });
});
