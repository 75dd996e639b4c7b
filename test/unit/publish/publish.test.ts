import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { History } from '../../../src/cvmfs/history';
import { formatHash } from '../../../src/cvmfs/hash';
import { parseXattrs } from '../../../src/cvmfs/xattr-blob';
import { libc } from '../../../src/native/libc';
import { repositoryPath } from '../../../src/publish/publish';
import { Fixture, FQRN } from './repository-fixture';

jest.setTimeout(30_000);

let fixture: Fixture;
beforeEach(async () => {
  fixture = await new Fixture().create();
});
afterEach(() => fixture.remove());

async function expectSound(): Promise<void> {
  const report = await fixture.check();
  expect(report.findings).toEqual([]);
}

/** Paths of the tree, without the root. */
function paths(): string[] {
  return [...fixture.tree().keys()].filter((path) => path !== '').sort();
}

const root = process.getuid?.() === 0;

describe('what is in a directory', () => {
  it('comes out as it went in: files, links, pipes, modes, times, sizes', async () => {
    fixture.files({ 'a/b/c.txt': 'content', 'a/empty': '', 'a/dir/': '' });
    fs.symlinkSync('../b/c.txt', path.join(fixture.source, 'a/dir/link'));
    fs.symlinkSync('$(HOME)/x', path.join(fixture.source, 'a/variant'));
    execFileSync('mkfifo', ['-m', '620', path.join(fixture.source, 'a/pipe')]);
    fs.chmodSync(path.join(fixture.source, 'a/b/c.txt'), 0o4751);
    fs.chmodSync(path.join(fixture.source, 'a/dir'), 0o3777);
    execFileSync('touch', ['-d', '1969-12-30T23:59:59.5Z', path.join(fixture.source, 'a/b/c.txt')]);
    const published = await fixture.publish();
    expect(published).toMatchObject({ revision: 2, entries: 9, files: 2, bytes: 7, catalogs: 1, warnings: [] });

    const tree = fixture.tree();
    expect(tree.get('/a/b/c.txt')).toMatchObject({ mode: 0o104751, size: 7, linkCount: 1, hardlinkGroup: 0, mtime: -86_401, mtimeNs: -1 });
    expect(tree.get('/a/b/c.txt')!.content!.toString()).toBe('content');
    expect(tree.get('/a/empty')!.hash!.toString('hex')).toBe('e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78');
    expect(tree.get('/a/dir')).toMatchObject({ mode: 0o043777, linkCount: 2, flags: 1 });
    expect(tree.get('/a')).toMatchObject({ linkCount: 4 });
    expect(tree.get('/a/dir/link')).toMatchObject({ flags: 12, size: 10, symlink: Buffer.from('../b/c.txt') });
    expect(tree.get('/a/variant')!.symlink.toString()).toBe('$(HOME)/x');
    expect(tree.get('/a/pipe')).toMatchObject({ flags: 20, mode: 0o010620, size: 0 });
    await expectSound();
  });

  it('keeps names that are not UTF-8, and as long as they may be', async () => {
    const odd = Buffer.concat([Buffer.from(`${fixture.source}/`), Buffer.from([0xff, 0xfe, 0x0a, 0x22])]);
    fs.writeFileSync(odd, 'odd');
    fs.symlinkSync(Buffer.from([0x80, 0x81]), Buffer.concat([odd, Buffer.from('.link')]));
    fs.writeFileSync(path.join(fixture.source, 'n'.repeat(255)), 'long');
    await fixture.publish();
    const tree = fixture.tree();
    expect(tree.get('/\xff\xfe\n"')!.content!.toString()).toBe('odd');
    expect(tree.get('/\xff\xfe\n".link')!.symlink).toEqual(Buffer.from([0x80, 0x81]));
    expect(tree.get(`/${'n'.repeat(255)}`)!.content!.toString()).toBe('long');
    await expectSound();
  });

  it('may be deeper than a path that the kernel takes', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `${'deep'.repeat(50)}${i}`);
    let at = fixture.source;
    const open: number[] = [];
    for (const name of names) {
      fs.mkdirSync(`${at}/${name}`);
      open.push(fs.openSync(`${at}/${name}`, 'r'));
      at = `/proc/self/fd/${open[open.length - 1]}`;
    }
    fs.writeFileSync(`${at}/file`, 'at the bottom');
    open.forEach((fd) => fs.closeSync(fd));
    await fixture.publish();
    expect(
      fixture
        .tree()
        .get(`/${names.join('/')}/file`)!
        .content!.toString(),
    ).toBe('at the bottom');
    await expectSound();
  });

  it('ties hard links of one directory together, and says that it does not tie others', async () => {
    fixture.files({ 'd/one': 'same', 'd/other': 'other', 'e/': '' });
    const link = (from: string, to: string): void => fs.linkSync(path.join(fixture.source, from), path.join(fixture.source, to));
    link('d/one', 'd/two');
    link('d/one', 'd/three');
    link('d/other', 'd/other2');
    link('d/one', 'e/far');
    const published = await fixture.publish();
    const tree = fixture.tree();
    const groups = ['/d/one', '/d/two', '/d/three'].map((name) => tree.get(name)!);
    expect(new Set(groups.map((entry) => entry.hardlinkGroup)).size).toBe(1);
    expect(groups.every((entry) => entry.linkCount === 3)).toBe(true);
    expect(tree.get('/d/other')).toMatchObject({ linkCount: 2 });
    expect([tree.get('/d/one')!.hardlinkGroup, tree.get('/d/other')!.hardlinkGroup].sort()).toEqual([1, 2]);
    expect(tree.get('/e/far')).toMatchObject({ linkCount: 1, hardlinkGroup: 0 });
    expect(tree.get('/e/far')!.content!.toString()).toBe('same');
    expect(published.warnings).toEqual([
      expect.stringContaining('hard links across directories'),
      expect.stringContaining('hard links across directories'),
    ]);
    await expectSound();
  });

  (root ? it : it.skip)('includes devices and owners (as root)', async () => {
    libc().mknod(path.join(fixture.source, 'null'), 0o020666, 259n);
    fs.chmodSync(path.join(fixture.source, 'null'), 0o666);
    libc().mknod(path.join(fixture.source, 'disk'), 0o060640, BigInt(0x11032c));
    fixture.files({ owned: 'x' });
    fs.chownSync(path.join(fixture.source, 'owned'), 1234, 4_000_000_000);
    await fixture.publish();
    const tree = fixture.tree();
    expect(tree.get('/null')).toMatchObject({ flags: 20, mode: 0o020666, size: 259 });
    expect(tree.get('/disk')).toMatchObject({ flags: 20, mode: 0o060640, size: 0x11032c });
    expect(tree.get('/owned')).toMatchObject({ uid: 1234, gid: 4_000_000_000 });
    await expectSound();
  });

  it('keeps extended attributes up to 255 bytes, and refuses longer ones by name', async () => {
    fixture.files({ file: 'x', dir: '' });
    const file = path.join(fixture.source, 'file');
    libc().lsetxattr(file, 'user.zero', Buffer.alloc(0));
    libc().lsetxattr(file, 'user.most', Buffer.alloc(255, 7));
    await fixture.publish();
    expect(parseXattrs(fixture.tree().get('/file')!.xattrs!)).toEqual([
      { name: Buffer.from('user.most'), value: Buffer.alloc(255, 7) },
      { name: Buffer.from('user.zero'), value: Buffer.alloc(0) },
    ]);
    libc().lsetxattr(file, 'user.most', Buffer.alloc(256, 7));
    await expect(fixture.publish()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/\/file .*user\.most/s) });
    await expectSound();
    await fixture.publish({ xattrs: false });
    expect(fixture.tree().get('/file')!.xattrs).toBeNull();
  });

  it('records nanoseconds when asked', async () => {
    fixture.files({ file: 'x' });
    execFileSync('touch', ['-d', '2020-01-02T03:04:05.123456789Z', path.join(fixture.source, 'file')]);
    await fixture.publish({ mtimeNs: true });
    expect(fixture.tree().get('/file')).toMatchObject({ mtime: 1_577_934_245, mtimeNs: 123_456_789 });
    await expectSound();
  });
});

describe('large files', () => {
  const chunks = { min: 1024, avg: 2048, max: 4096 };

  it('are cut when they are larger than the minimum', async () => {
    const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255));
    fixture.files({ cut: bytes, exact: bytes.subarray(0, 1024), one: Buffer.alloc(1100) });
    await fixture.publish({ chunks });
    const tree = fixture.tree();
    expect(tree.get('/cut')!.chunkOffsets.length).toBeGreaterThan(4);
    expect(tree.get('/cut')!.content!.equals(bytes)).toBe(true);
    expect(tree.get('/cut')!.hash).toBeNull();
    // Of one chunk comes a whole object.
    expect(tree.get('/exact')).toMatchObject({ chunkOffsets: [], flags: 4 });
    expect(tree.get('/one')).toMatchObject({ chunkOffsets: [], flags: 4 });
    await expectSound();
  });

  it('are not cut when nobody wants it, also when they go through a spool file', async () => {
    const bytes = Buffer.concat(Array.from({ length: 300 }, (_, i) => fixture.world.randomBytes(10_000 + i)));
    fixture.files({ big: bytes });
    await fixture.publish({ chunks: null });
    expect(fixture.tree().get('/big')!.content!.equals(bytes)).toBe(true);
    expect(fs.readdirSync(path.join(fixture.storage, 'data/txn'))).toEqual(['mesos-cvmfs-lock']);
    await expectSound();
  });
});

describe.each(['sha1', 'rmd160', 'shake128'] as const)('with %s', (hashAlgorithm) => {
  it.each(['zlib', 'none'] as const)('and compression %s', async (compression) => {
    fixture.remove();
    fixture = await new Fixture().create({ hashAlgorithm, garbageCollectable: false });
    fixture.files({ file: 'text '.repeat(1000), empty: '', 'sub/.cvmfscatalog': '', 'sub/x': 'y' });
    await fixture.publish({ compression, chunks: { min: 1024, avg: 2048, max: 4096 }, tag: 'v1' });
    expect(fixture.tree().get('/file')!.content!.toString()).toBe('text '.repeat(1000));
    expect(fixture.manifest()).toMatchObject({ garbageCollectable: false, rootHash: { algorithm: hashAlgorithm } });
    await expectSound();
  });
});

describe('nested catalogs', () => {
  it('begin where .cvmfscatalog is, and merge when it goes', async () => {
    fixture.files({ 'a/.cvmfscatalog': '', 'a/x': '1', 'a/b/.cvmfscatalog': '', 'a/b/y': '2', 'c/z': '3' });
    expect(await fixture.publish()).toMatchObject({ catalogs: 3 });
    let tree = fixture.tree();
    expect(new Set(['', '/a', '/a/b'].map((path) => tree.get(path)!.catalogHash)).size).toBe(3);
    expect(tree.get('/a')).toMatchObject({ flags: 3 });
    await expectSound();

    fs.rmSync(path.join(fixture.source, 'a/.cvmfscatalog'));
    await fixture.publish();
    tree = fixture.tree();
    expect(tree.get('/a')).toMatchObject({ flags: 1 });
    expect(tree.get('/a/x')!.catalogHash).toBe(formatHash(fixture.manifest().rootHash));
    expect(tree.get('/a/b')).toMatchObject({ flags: 3 });
    await expectSound();
  });

  it('keep their hash as long as nothing in them changes, while the root never does', async () => {
    fixture.files({ 'a/.cvmfscatalog': '', 'a/x': '1', 'a/b/.cvmfscatalog': '', 'a/b/y': '2', 'c/.cvmfscatalog': '' });
    await fixture.publish();
    const before = fixture.tree();
    const again = await fixture.publish();
    expect(again).toMatchObject({ revision: 3, catalogs: 1 });
    let after = fixture.tree();
    for (const path of ['/a', '/a/b', '/c']) expect(after.get(path)!.catalogHash).toBe(before.get(path)!.catalogHash);
    expect(after.get('')!.catalogHash).not.toBe(before.get('')!.catalogHash);

    fixture.files({ 'a/b/y': 'changed' });
    expect(await fixture.publish()).toMatchObject({ catalogs: 3 });
    after = fixture.tree();
    expect(after.get('/a')!.catalogHash).not.toBe(before.get('/a')!.catalogHash);
    expect(after.get('/c')!.catalogHash).toBe(before.get('/c')!.catalogHash);
    await expectSound();
  });

  it('count their own revisions and name the one before', async () => {
    fixture.files({ 'a/.cvmfscatalog': '', 'a/x': '1' });
    await fixture.publish();
    const first = fixture.tree().get('/a')!.catalogHash;
    fixture.files({ 'a/x': '2' });
    await fixture.publish();
    const hash = fixture.tree().get('/a')!.catalogHash;
    const db = new Sqlite(fixture.database({ hash: { algorithm: 'sha1', digest: Buffer.from(hash, 'hex') }, kind: 'catalog', compression: 'zlib' }), {
      readonly: true,
    });
    const properties = Object.fromEntries(db.prepare('SELECT key, value FROM properties').raw().all() as Array<[string, string]>);
    db.close();
    expect(properties).toMatchObject({ schema: '2.5', schema_revision: '7', root_prefix: '/a', revision: '2', previous_revision: first });
  });

  it('are not made at the root of the repository', async () => {
    fixture.files({ '.cvmfscatalog': '' });
    await expect(fixture.publish()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await fixture.publish({ to: '/sub' });
    expect(fixture.tree().get('/sub')).toMatchObject({ flags: 3 });
    await expectSound();
  });

  it('are not made by a marker that is not an empty file', async () => {
    fixture.files({ 'a/.cvmfscatalog': 'full' });
    await expect(fixture.publish()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('/a/.cvmfscatalog') });
    fs.rmSync(path.join(fixture.source, 'a/.cvmfscatalog'));
    fs.symlinkSync('x', path.join(fixture.source, 'a/.cvmfscatalog'));
    await expect(fixture.publish()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(fixture.manifest().revision).toBe(1);
  });
});

describe('--to', () => {
  it('replaces one subtree and keeps the rest, catalogs and all', async () => {
    fixture.files({
      'keep/.cvmfscatalog': '',
      'keep/file': '1',
      'top/old/gone': '2',
      'top/nested/.cvmfscatalog': '',
      'top/nested/deep/.cvmfscatalog': '',
      beside: '3',
    });
    await fixture.publish();
    const before = fixture.tree();
    fs.rmSync(fixture.source, { recursive: true });
    fixture.files({ 'new/file': '4' });
    fs.chmodSync(fixture.source, 0o750);
    await fixture.publish({ to: '/top' });
    const tree = fixture.tree();
    expect(paths()).toEqual(['/beside', '/keep', '/keep/.cvmfscatalog', '/keep/file', '/top', '/top/new', '/top/new/file']);
    expect(tree.get('/top')).toMatchObject({ mode: 0o040750, linkCount: 3 });
    expect(tree.get('/keep')!.catalogHash).toBe(before.get('/keep')!.catalogHash);
    expect(tree.get('')).toMatchObject({ linkCount: 4 });
    await expectSound();
  });

  it('makes missing parents with mode 0755', async () => {
    fixture.files({ file: 'x' });
    const published = await fixture.publish({ to: '/one/two/three' });
    expect(published.entries).toBe(4);
    const tree = fixture.tree();
    expect(tree.get('')).toMatchObject({ linkCount: 3 });
    expect(tree.get('/one')).toMatchObject({ mode: 0o040755, uid: 0, gid: 0, linkCount: 3 });
    expect(tree.get('/one/two')).toMatchObject({ mode: 0o040755, linkCount: 3 });
    expect(tree.get('/one/two/three')).toMatchObject({ linkCount: 2 });
    await expectSound();
  });

  it('reaches into nested catalogs, and both rows of a mount point stay equal', async () => {
    fixture.files({ 'a/.cvmfscatalog': '', 'a/b/.cvmfscatalog': '', 'a/b/file': '1', 'other/.cvmfscatalog': '' });
    await fixture.publish();
    const before = fixture.tree();
    fs.rmSync(fixture.source, { recursive: true });
    fixture.files({ inner: '2' });
    // A directory more in the root of the catalog at /a/b: its link count is in two catalogs.
    await fixture.publish({ to: '/a/b/new' });
    const tree = fixture.tree();
    expect(tree.get('/a/b')).toMatchObject({ linkCount: 3, flags: 3 });
    expect(tree.get('/a/b/new/inner')!.content!.toString()).toBe('2');
    expect(tree.get('/other')!.catalogHash).toBe(before.get('/other')!.catalogHash);
    expect(tree.get('/a')!.catalogHash).not.toBe(before.get('/a')!.catalogHash);
    await expectSound();

    // The same again changes the root and nothing else.
    expect(await fixture.publish({ to: '/a/b/new' })).toMatchObject({ catalogs: 1 });
    expect(fixture.tree().get('/a')!.catalogHash).toBe(tree.get('/a')!.catalogHash);
    await expectSound();
  });

  it('replaces a file by a directory, and the mount point of a nested catalog', async () => {
    fixture.files({ file: 'x', 'n/.cvmfscatalog': '', 'n/m/.cvmfscatalog': '', 'n/m/file': 'y' });
    await fixture.publish();
    fs.rmSync(fixture.source, { recursive: true });
    fixture.files({ 'sub/inner': 'z' });
    await fixture.publish({ to: '/file' });
    expect(fixture.tree().get('')).toMatchObject({ linkCount: 4 });
    await expectSound();
    await fixture.publish({ to: '/n' });
    expect(paths()).toEqual(['/file', '/file/sub', '/file/sub/inner', '/n', '/n/sub', '/n/sub/inner']);
    expect(fixture.tree().get('')).toMatchObject({ linkCount: 4 });
    await expectSound();
  });

  it('takes a name out of a group of hard links', async () => {
    for (const names of [
      ['one', 'two', 'three'],
      ['four', 'five'],
    ]) {
      fixture.files({ [`d/${names[0]}`]: names[0]! });
      for (const name of names.slice(1)) fs.linkSync(path.join(fixture.source, `d/${names[0]}`), path.join(fixture.source, `d/${name}`));
    }
    await fixture.publish();
    fs.rmSync(fixture.source, { recursive: true });
    fixture.files({ inner: 'x' });
    await fixture.publish({ to: '/d/three' });
    await fixture.publish({ to: '/d/five' });
    const tree = fixture.tree();
    expect(tree.get('/d/one')).toMatchObject({ linkCount: 2 });
    expect(tree.get('/d/one')!.hardlinkGroup).toBe(tree.get('/d/two')!.hardlinkGroup);
    expect(tree.get('/d/four')).toMatchObject({ linkCount: 1, hardlinkGroup: 0 });
    await expectSound();
  });

  it('warns of the one name that our mounts keep for themselves', async () => {
    fixture.files({ '.cvmfs-view/x': 'y' });
    expect((await fixture.publish()).warnings).toEqual([expect.stringContaining('.cvmfs-view')]);
    expect((await fixture.publish({ to: '/.cvmfs-view/deeper' })).warnings).toEqual([expect.stringContaining('.cvmfs-view')]);
    expect((await fixture.publish({ to: '/sub' })).warnings).toEqual([]);
  });

  it('does not go through what is no directory, nor follow links', async () => {
    fixture.files({ file: 'x', 'dir/': '' });
    fs.symlinkSync('dir', path.join(fixture.source, 'link'));
    await fixture.publish();
    for (const to of ['/file/below', '/link/below']) await expect(fixture.publish({ to })).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
    expect(fixture.manifest().revision).toBe(2);
  });

  it('is an absolute path of names', () => {
    expect(repositoryPath('/').length).toBe(0);
    expect(repositoryPath('//a///b/').toString()).toBe('/a/b');
    for (const bad of ['', 'a', '/a/../b', '/./a', `/${'x'.repeat(256)}`, '/a\0b'])
      expect(() => repositoryPath(bad)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('keeps a prefix that only looks like it', async () => {
    fixture.files({ 'foo/.cvmfscatalog': '', 'foo/x': '1', 'foobar/.cvmfscatalog': '', 'foobar/y': '2' });
    await fixture.publish();
    fs.rmSync(fixture.source, { recursive: true });
    fixture.files({ z: '3' });
    await fixture.publish({ to: '/foo' });
    expect(paths()).toEqual(['/foo', '/foo/z', '/foobar', '/foobar/.cvmfscatalog', '/foobar/y']);
    await expectSound();
  });
});

describe('revisions', () => {
  it('rise by one, and their time rises whatever the clock says', async () => {
    fixture.files({ file: '1' });
    fixture.ahead = 5000;
    await fixture.publish();
    const first = fixture.manifest();
    fixture.ahead = 0;
    await fixture.publish();
    const second = fixture.manifest();
    expect(second.revision).toBe(first.revision + 1);
    expect(second.publishedAt).toBe(first.publishedAt + 1);
    await expectSound();
  });

  it('are tagged, with trunk and trunk-previous for one step back', async () => {
    fixture.files({ file: '1' });
    await fixture.publish({ tag: 'v1', message: 'the first' });
    const first = fixture.manifest();
    fixture.files({ file: '2' });
    await fixture.publish({ tag: 'v2' });
    await expect(fixture.publish({ tag: 'v1' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    const second = fixture.manifest();
    const history = History.read(fixture.database({ hash: second.history!, kind: 'history', compression: 'zlib' }));
    expect(formatHash(history.previous!)).toBe(formatHash(first.history!));
    expect(history.fqrn).toBe(FQRN);
    const named = (name: string) => history.byName(name)!;
    expect(history.tags.map((tag) => tag.name).sort()).toEqual(['trunk', 'trunk-previous', 'v1', 'v2']);
    expect(named('v1')).toMatchObject({
      rootHash: first.rootHash,
      revision: 2,
      description: 'the first',
      rootSize: first.rootSize,
      timestamp: first.publishedAt,
    });
    expect(named('trunk')).toMatchObject({ rootHash: second.rootHash, description: 'current HEAD' });
    expect(named('trunk-previous')).toMatchObject({ rootHash: first.rootHash, description: 'default undo target', revision: 2 });
    await expectSound();
  });

  it.each(['trunk', 'two words', 'ümlaut', ''])('refuse %j as a tag', async (tag) => {
    await expect(fixture.publish({ tag })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('take a message only with a tag', async () => {
    await expect(fixture.publish({ message: 'lost' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('leave the whitelist alone, and warn when it is about to end', async () => {
    const whitelist = path.join(fixture.storage, '.cvmfswhitelist');
    const before = fs.readFileSync(whitelist);
    fixture.files({ file: '1' });
    expect((await fixture.publish()).warnings).toEqual([]);
    fixture.ahead = 29 * 86_400;
    expect((await fixture.publish()).warnings).toEqual([expect.stringContaining('whitelist')]);
    fixture.ahead = 40 * 86_400;
    expect((await fixture.publish()).warnings).toEqual([expect.stringContaining('expired')]);
    expect(fs.readFileSync(whitelist).equals(before)).toBe(true);
  });
});

describe('a publish that fails', () => {
  it('leaves the revision before it, wherever it ends, and the next one succeeds', async () => {
    fixture.files({ 'a/.cvmfscatalog': '', 'a/x': '1', y: '2' });
    await fixture.publish();
    const steps: string[] = [];
    fixture.files({ 'a/x': 'changed', y: 'changed' });
    await fixture.publish({}, { onStep: (step) => void steps.push(step) });
    expect(steps).toEqual(['locked', 'catalog', 'tree', 'catalog', 'history', 'certificate', 'reflog', 'flushed', 'manifest']);
    for (let at = 0; at < steps.length; at++) {
      const before = fixture.manifest();
      fixture.files({ 'a/x': `run ${at}`, y: `run ${at}` });
      let count = 0;
      await expect(
        fixture.publish(
          {},
          {
            onStep: () => {
              if (count++ === at) throw new Error('the power went');
            },
          },
        ),
      ).rejects.toThrow('the power went');
      const complete = steps[at] === 'manifest';
      expect(fixture.manifest().revision).toBe(before.revision + (complete ? 1 : 0));
      expect((await fixture.check()).faults).toBe(0);
      await fixture.publish();
      expect(fixture.tree().get('/y')!.content!.toString()).toBe(`run ${at}`);
      await expectSound();
    }
  });

  it('says that another one is running', async () => {
    fixture.files({ file: 'x' });
    let second: unknown;
    await fixture.publish(
      {},
      {
        onStep: async (step) => {
          if (step === 'tree') second = await fixture.publish().catch((err: unknown) => err);
        },
      },
    );
    expect(second).toMatchObject({ code: 'FAILED_PRECONDITION', message: expect.stringContaining('another process is publishing') });
    expect(fixture.manifest().revision).toBe(2);
  });

  it('refuses keys of somebody else', async () => {
    const other = await new Fixture().create({ ttlSeconds: 60 });
    try {
      await expect(fixture.publish({ keys: other.keys })).rejects.toMatchObject({ code: 'WHITELIST_INVALID' });
      fs.rmSync(path.join(other.keys, `${FQRN}.pub`));
      await expect(fixture.publish({ keys: other.keys })).rejects.toMatchObject({ code: 'KEY_INVALID' });
    } finally {
      other.remove();
    }
  });

  it.each([
    ['oci:/somewhere', 'UNIMPLEMENTED'],
    ['docker://debian', 'UNIMPLEMENTED'],
    ['zip:/somewhere', 'INVALID_ARGUMENT'],
    ['/somewhere', 'INVALID_ARGUMENT'],
    ['dir:/nonexistent', 'NOT_FOUND'],
    ['tar:/nonexistent', 'NOT_FOUND'],
    ['dir:/etc/passwd', 'NOT_A_DIRECTORY'],
  ])('refuses the source %s', async (source, code) => {
    await expect(fixture.publish({ source })).rejects.toMatchObject({ code });
  });

  it('says where there is no repository', async () => {
    await expect(fixture.publish({ storage: path.join(fixture.dir, 'nothing') })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(fixture.publish({ storage: 's3://bucket' })).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
    await expect(fixture.publish({ fqrn: 'other.example.org' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

it('stores equal files once', async () => {
  fixture.files(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, 'the same'])));
  const { newObjects, files } = await fixture.publish();
  expect(files).toBe(200);
  expect(newObjects).toBe(3); // the file, the catalog, the history
});

it('reports what it does', async () => {
  fixture.files({ 'a/b': 'x', 'c/d': 'y' });
  let last = 0;
  await fixture.publish({}, { onProgress: ({ entries }) => void (last = entries) });
  expect(last).toBe(5);
});

it('copes with directories of thousands of files', async () => {
  fixture.files(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`many/file-${i}`, String(i % 10)])));
  const published = await fixture.publish();
  expect(published).toMatchObject({ entries: 5002, newObjects: 12 });
  await expectSound();
});
