/**
 * Catalogs that carry a good signature and mean harm. Each is refused or shown without what cannot be; the server that
 * read them is the same process afterwards, and all else stays readable.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { ForgedRepository, hashOf } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import type { Look } from '../support/outside';
import { describeWithMounts, TestHost } from '../support/test-host';
import { CATALOG_COLUMNS, DIRECTORY, ROOT, SCHEMA } from '../unit/cvmfs/catalog-maker';
import type { Recipe, Row } from '../unit/cvmfs/catalog-maker';
import { makeKeys } from '../unit/cvmfs/signer';

const NESTED = { ...DIRECTORY, flags: 1 | 2 };
const NESTED_ROOT = { ...DIRECTORY, flags: 1 | 32 };
const SYMLINK = { flags: 4 | 8, mode: 0o120777 };
const CHUNKED = 4 | 64;
const TWO_32 = 2 ** 32;
/** A table whose keys need not be unique, as the real one's must. */
const LOOSE: Recipe['schema'] = { catalog: `CREATE TABLE catalog (${CATALOG_COLUMNS})`, idx_md5: 'CREATE INDEX idx_md5 ON catalog (md5path_1, md5path_2)' };

/** Recipes for a whole catalog that must be refused, given its root's path and row. */
const REFUSED: Readonly<Record<string, (root: string, rows: readonly Row[]) => Recipe>> = {
  'a view in place of the table': () => ({ schema: { catalog: 'CREATE TABLE real_catalog (x)', idx_catalog_parent: 'CREATE VIEW catalog AS SELECT * FROM real_catalog' }, rows: [] }),
  'a virtual table': () => ({ schema: { catalog: 'CREATE TABLE real_catalog (x)', idx_catalog_parent: 'CREATE VIRTUAL TABLE catalog USING fts5(name)' }, rows: [] }),
  'a table WITHOUT ROWID': (_, rows) => ({ schema: { catalog: `${SCHEMA['catalog']!} WITHOUT ROWID` }, rows }),
  'a trigger': (_, rows) => ({ rows, after: (db) => db.exec("CREATE TRIGGER t AFTER INSERT ON catalog BEGIN DELETE FROM properties; END") }),
  'a row number of 2^32': (root, rows) => ({ rows: [...rows, { path: `${root}/far`, rowid: TWO_32 }] }),
  'a row number of 0': (root, rows) => ({ rows: [...rows, { path: `${root}/zero`, rowid: 0 }] }),
  'a negative row number': (root, rows) => ({ rows: [...rows, { path: `${root}/minus`, rowid: -5 }] }),
  'no row for its own root': (root) => ({ rows: [{ path: `${root}/alone` }] }),
  'a root that is a file': (root) => ({ rows: [{ path: root, parent: null, name: root.slice(1) }] }),
  'no index of its rows': (_, rows) => ({ schema: { catalog: `CREATE TABLE catalog (${CATALOG_COLUMNS})` }, rows }),
  'a schema of the future': (_, rows) => ({ properties: { schema: '3.0' }, rows }),
};

describeWithMounts('a hostile catalog', () => {
  let host: TestHost;
  let repository: ForgedRepository;
  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host, makeKeys());
  });
  afterAll(async () => {
    await host.end();
    await repository.close();
  });

  it.each(Object.keys(REFUSED))('as the root catalog is refused: %s', async (name) => {
    repository.publish(repository.catalog(REFUSED[name]!('', [ROOT])));
    fs.rmSync(host.cacheDir, { recursive: true, force: true });
    const ran = await host.tryMount({ ...repository.mountOptions(), json: false });
    expect(ran).toMatchObject({ code: 6, stdout: '' });
    expect(ran.stderr).toMatch(/^mesos-cvmfs: catalog of \/ \([0-9a-f]{40}\): .*; tell the publisher of the repository\n$/);
    expect(host.mountsBelow()).toEqual([]);
    expect(host.servers()).toEqual([]);
  });

  describe('beside good ones', () => {
    let info: MountInfo;
    const at = (name: string): string => Buffer.from(path.join(info.mountpoint, name)).toString('latin1');

    /** Mounts a tree of these rows and one good file, /good. */
    async function show(rows: readonly Row[], more: Partial<Recipe> = {}): Promise<void> {
      repository.publish(repository.catalog({ ...more, rows: [ROOT, repository.file('/good', 'good\n'), ...rows] }));
      fs.rmSync(host.cacheDir, { recursive: true, force: true });
      info = await host.mount(repository.mountOptions());
    }
    afterEach(async () => {
      // Whatever was asked before: the same server, and the good file.
      expect(await lookAt(host, 'read', at('good'))).toEqual({ value: 'good\n' });
      expect((await host.status()).mounts).toMatchObject([{ server_pid: info.serverPid }]);
      expect(await host.umount(info.mountpoint, '--lazy')).toMatchObject({ code: 0 });
    });

    it('attached below: EIO there, and the rest is read', async () => {
      const names = Object.keys(REFUSED);
      const nested: Stored[] = names.map((name, i) => {
        const root = `/n${i}`;
        const recipe = REFUSED[name]!(root, [{ path: root, ...NESTED_ROOT }]);
        return repository.catalog({ ...recipe, properties: { root_prefix: root, ...recipe.properties } });
      });
      await show(
        names.map((_, i) => ({ path: `/n${i}`, ...NESTED })),
        { nested: nested.map((stored, i) => ({ path: `/n${i}`, sha1: hashOf(stored), size: stored.size })) },
      );
      const calls = names.flatMap((_, i): Look[] => [['stat', at(`n${i}`)], ['list', at(`n${i}`)], ['stat', at(`n${i}/x`)]]);
      const seen = await look(host, calls);
      expect(names.map((name, i) => ({ name, seen: seen.slice(3 * i + 1, 3 * i + 3) }))).toEqual(names.map((name) => ({ name, seen: [{ error: 'EIO' }, { error: 'EIO' }] })));
      expect(seen.filter((_, i) => i % 3 === 0).map(({ value }) => (value as { mode: number }).mode)).toEqual(names.map(() => 0o040755));
      expect(await lookAt(host, 'list', at(''))).toEqual({ value: ['good', ...names.map((_, i) => `n${i}`)].sort() });
      // Again: a refusal is not only the first answer.
      expect(await lookAt(host, 'list', at('n0'))).toEqual({ error: 'EIO' });
    }, 60_000);

    it('attached where it does not belong, or to itself', async () => {
      const elsewhere = repository.catalog({ properties: { root_prefix: '/elsewhere' }, rows: [{ path: '/elsewhere', ...NESTED_ROOT }, repository.file('/elsewhere/x', 'x')] });
      // A nested catalog that attaches another one at its own root, which would be a directory inside itself.
      const inner = repository.catalog({ properties: { root_prefix: '/self' }, rows: [{ path: '/self', ...NESTED_ROOT }, repository.file('/self/x', 'x\n')] });
      const self = repository.catalog({
        properties: { root_prefix: '/self' },
        rows: [{ path: '/self', ...NESTED_ROOT, flags: 1 | 2 | 32 }, repository.file('/self/y', 'y\n')],
        nested: [{ path: '/self', sha1: hashOf(inner), size: inner.size }],
      });
      const absurd = repository.catalog({ properties: { root_prefix: '/absurd' }, rows: [{ path: '/absurd', ...NESTED_ROOT }] });
      await show(['/wrong', '/self', '/unlisted', '/nohash', '/absurd', '/file'].map((name) => ({ path: name, ...NESTED })), {
        nested: [
          { path: '/wrong', sha1: hashOf(elsewhere), size: elsewhere.size },
          { path: '/self', sha1: hashOf(self), size: self.size },
          { path: '/nohash', sha1: '../../etc/passwd', size: 1 },
          { path: '/absurd', sha1: hashOf(absurd), size: 2 ** 52 },
          { path: '/file', sha1: hashOf(repository.put('catalog', 'no catalog')), size: 0 },
        ],
      });
      const seen = await look(host, [['list', at('wrong')], ['stat', at('wrong/x')], ['list', at('unlisted')], ['list', at('nohash')], ['list', at('absurd')], ['list', at('file')], ['list', at('self')], ['read', at('self/y')], ['stat', at('self/self')]]);
      expect(seen.slice(0, 6)).toEqual(Array(6).fill({ error: 'EIO' }));
      expect(seen.slice(6)).toEqual([{ value: ['y'] }, { value: 'y\n' }, { error: 'ENOENT' }]);
    });

    it('with names that no file system has: left out', async () => {
      const bad: Row[] = [
        ['a/b', '/a/b'],
        ['../up', '/up'],
        ['..', '/..'],
        ['.', '/.'],
        [Buffer.from('nul\0l'), '/nul'],
        ['', '/empty'],
        ['n'.repeat(256), '/long'],
        [null, '/null'],
      ].map(([name, place]) => ({ path: place as string, parent: '', name: name as Row['name'] }));
      await show([...bad, repository.file('/n', 'n\n'), { ...repository.file('', 'raw\n'), path: Buffer.from('/raw\xff\xfe', 'latin1') }]);
      expect(await lookAt(host, 'list', at(''))).toEqual({ value: ['good', 'n', 'raw\xff\xfe'] });
      expect(await look(host, [['read', `${info.mountpoint}/raw\xff\xfe`], ['stat', at('up')], ['stat', at('null')], ['stat', at('n'.repeat(256))]])).toEqual([{ value: 'raw\n' }, { error: 'ENOENT' }, { error: 'ENOENT' }, { error: 'ENAMETOOLONG' }]);
    });

    it('with row numbers up to the last one that there is', async () => {
      await show([
        { ...repository.file('/last', 'last\n'), rowid: TWO_32 - 3 },
        { path: '/dir', ...DIRECTORY, rowid: TWO_32 - 2 },
        { ...repository.file('/dir/x', 'x\n'), rowid: TWO_32 - 1 },
      ]);
      const seen = await look(host, [['list', at('dir')], ['read', at('dir/x')], ['read', at('last')], ['stat', at('dir')], ['list', at('')]]);
      expect(seen.slice(0, 3)).toEqual([{ value: ['x'] }, { value: 'x\n' }, { value: 'last\n' }]);
      expect(seen[3]).toMatchObject({ value: { mode: 0o040755 } });
      // The root's listing numbers its rows with 32 bits, the cursors of `.` and `..` among them.
      expect(seen[4]!.value).toEqual(['good', 'last']);
    });

    it('with two rows for one path, and rows whose parents or names are not those of their paths', async () => {
      await show(
        [
          { path: '/d', ...DIRECTORY },
          { path: '/e', ...DIRECTORY },
          repository.file('/twice', 'first\n'),
          repository.file('/twice', 'second\n'),
          // In /d by its parent, at /e/moved by its key.
          { ...repository.file('/e/moved', 'moved\n'), parent: '/d' },
          { ...repository.file('/d/right', 'right\n'), name: 'wrong' },
          // A directory in itself, and two that are each other's parents.
          { path: '/loop', ...DIRECTORY, parent: '/loop' },
          { path: '/p', ...DIRECTORY, parent: '/q' },
          { path: '/q', ...DIRECTORY, parent: '/p' },
          { path: '/d/again', ...DIRECTORY, parent: '/d/again' },
          // A second row for /d inside /d: its children would be those of /d.
          { path: '/d', ...DIRECTORY, parent: '/d', name: 'd' },
          { path: '/e', ...DIRECTORY, parent: '/d', name: 'e2' },
        ],
        { schema: LOOSE },
      );
      const seen = await look(host, [['read', at('twice')], ['stat', at('e/moved')], ['stat', at('d/moved')], ['stat', at('d/right')], ['stat', at('d/wrong')], ['stat', at('loop')], ['stat', at('loop/loop')], ['stat', at('p')], ['stat', at('d/again')]]);
      expect(seen.map(({ error, value }) => error ?? value)).toEqual(['first\n', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT']);
      // A walk of everything ends, whatever it may say of the planted rows.
      const walk = await host.outside('find', [info.mountpoint], { timeoutMs: 20_000 });
      expect(walk.code).not.toBe(255);
      expect(walk.stdout).not.toContain('d/d');
      expect(walk.stdout).not.toContain('again');
      const after = await look(host, [['list', at('e')], ['list', at('d/e2')], ['read', at('d/moved')]]);
      expect(after[0]).toEqual({ value: [] });
    });

    it('with hard links across directories, and files whose content makes no sense', async () => {
      const real = repository.put('file', 'linked\n');
      const link = (name: string): Row => ({ path: name, hash: real.hash.digest, size: real.size, hardlinks: (9n << 32n) | 2n });
      const chunk = repository.put('chunk', Buffer.alloc(1000, 'c'));
      const digest = chunk.hash.digest;
      const bomb = repository.put('file', Buffer.alloc(32 << 20));
      await show(
        [
          { path: '/d1', ...DIRECTORY },
          { path: '/d2', ...DIRECTORY },
          link('/d1/x'),
          link('/d2/y'),
          link('/d2/z'),
          { path: '/gap', flags: CHUNKED, hash: null, size: 3000 },
          { path: '/overlap', flags: CHUNKED, hash: null, size: 1500 },
          { path: '/nochunks', flags: CHUNKED, hash: null, size: 3000 },
          { path: '/hugechunk', flags: CHUNKED, hash: null, size: 2 ** 50 },
          { path: '/null', hash: null, size: 10 },
          { path: '/zero', hash: Buffer.alloc(20), size: 10 },
          { path: '/empty', hash: null, size: 0 },
          { path: '/huge', hash: real.hash.digest, size: 2 ** 52 },
          { path: '/beyond', hash: real.hash.digest, size: 2n ** 62n },
          { path: '/minus', hash: real.hash.digest, size: -1 },
          { path: '/bomb', hash: bomb.hash.digest, size: 10 },
          { path: '/short', hash: real.hash.digest, size: 3 },
          { path: '/link4095', ...SYMLINK, hash: null, symlink: 'a'.repeat(4095) },
          { path: '/link4096', ...SYMLINK, hash: null, symlink: 'a'.repeat(4096) },
          { path: '/linknone', ...SYMLINK, hash: null, symlink: '' },
          { path: '/modes', mode: 0o040755 },
        ],
        {
          chunks: [
            { path: '/gap', offset: 0, size: 1000, hash: digest },
            { path: '/gap', offset: 2000, size: 1000, hash: digest },
            { path: '/overlap', offset: 0, size: 1000, hash: digest },
            { path: '/overlap', offset: 500, size: 1000, hash: digest },
            { path: '/hugechunk', offset: 0, size: 2n ** 50n, hash: digest },
          ],
        },
      );
      const stats = await look(host, [['stat', at('d1/x')], ['stat', at('d2/y')], ['stat', at('d2/z')]]);
      const [x, y, z] = stats.map(({ value }) => (value as { ino: number }).ino);
      expect(y).toBe(z);
      expect(x).not.toBe(y);
      const read = async (...names: string[]): Promise<unknown[]> => (await look(host, names.map((name) => ['pread', at(name), 0, 4096] as const), { timeoutMs: 120_000 })).map(({ error, value }) => error ?? value);
      expect(await read('d1/x', 'd2/y', 'd2/z', 'empty')).toEqual(['linked\n', 'linked\n', 'linked\n', '']);
      const broken = ['gap', 'overlap', 'nochunks', 'hugechunk', 'null', 'zero', 'huge', 'bomb', 'short'];
      expect((await read(...broken)).map((seen, i) => ({ name: broken[i], seen }))).toEqual(broken.map((name) => ({ name, seen: 'EIO' })));
      expect(await read('beyond', 'minus', 'modes')).toEqual(['ENOENT', 'ENOENT', 'ENOENT']);
      expect(await look(host, [['readlink', at('link4095')], ['stat', at('link4096')], ['stat', at('linknone')]])).toEqual([{ value: 'a'.repeat(4095) }, { error: 'ENOENT' }, { error: 'ENOENT' }]);
    }, 60_000);

    it('with our own name in its root: hidden, unreachable and warned about', async () => {
      await show([{ path: '/.cvmfs-view', ...DIRECTORY }, repository.file('/.cvmfs-view/theirs', 'theirs\n'), { path: '/d', ...DIRECTORY }, repository.file('/d/.cvmfs-view', 'allowed\n')]);
      expect(await look(host, [['list', at('')], ['list', at('.cvmfs-view')], ['stat', at('.cvmfs-view/theirs')], ['read', at('d/.cvmfs-view')]])).toEqual([{ value: ['d', 'good'] }, { value: [] }, { error: 'ENOENT' }, { value: 'allowed\n' }]);
      const warning = /has an entry \.cvmfs-view in its root/;
      expect((await host.status()).warnings).toContainEqual(expect.stringMatching(warning));
      expect(fs.readFileSync(path.join(info.dir, 'server.log'), 'utf8')).toMatch(warning);
    });
  });
});
