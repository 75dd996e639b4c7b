import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { Failure } from '../../../src/error';
import { Catalog } from '../../../src/cvmfs/catalog';
import { isEntryPath } from '../../../src/cvmfs/catalog-entry';
import { formatHash } from '../../../src/cvmfs/hash';
import { pathKey } from '../../../src/cvmfs/path-key';
import { DIRECTORY, ROOT, SCHEMA, makeCatalog } from './catalog-maker';
import type { Recipe, Row } from './catalog-maker';

let scratch: string;
let made = 0;
const opened: Catalog[] = [];
beforeAll(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'catalog-'));
});
afterEach(() => {
  for (const catalog of opened.splice(0)) catalog.close();
});
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

const make = (recipe: Recipe = {}): string => makeCatalog(path.join(scratch, String((made += 1))), recipe);
function open(recipe: Recipe = {}): Catalog {
  const catalog = Catalog.open(make(recipe));
  opened.push(catalog);
  return catalog;
}
const key = (text: string | Buffer): ReturnType<typeof pathKey> => pathKey(Buffer.from(text));
const names = (catalog: Catalog, directory = ''): string[] => catalog.children(key(directory), 0, 1000).map((entry) => entry.name.toString('latin1'));
const invalid = expect.objectContaining({ code: 'CATALOG_INVALID' }) as Error;

describe('a catalog', () => {
  it('answers rows with all their columns', () => {
    const catalog = open({
      rows: [
        ROOT,
        { path: '/f', size: 123456789012, mtime: 1700000000, mtimens: 999999999, hardlinks: (5n << 32n) | 2n, uid: 1000, xattr: Buffer.from('0100', 'hex') },
        { path: '/l', flags: 12, mode: 0o120777, symlink: 'target/$(A)', size: 11 },
        { path: '/d', ...DIRECTORY, hardlinks: (6n << 32n) | 3n },
        { path: '/dev', flags: 20, mode: 0o020600, size: 0x0501, hash: null },
      ],
    });
    expect(catalog.byKey(key('/f'))).toEqual({
      rowid: 2,
      key: key('/f'),
      parent: key(''),
      name: Buffer.from('f'),
      flags: 4,
      hash: Buffer.alloc(20, 7),
      size: 123456789012,
      mode: 0o100644,
      mtime: 1700000000,
      mtimeNs: 999999999,
      linkCount: 2,
      hardlinkGroup: 5,
      uid: 1000,
      gid: 0,
      symlink: Buffer.alloc(0),
      xattrs: Buffer.from('0100', 'hex'),
    });
    expect(catalog.byRowid(3)).toMatchObject({ symlink: Buffer.from('target/$(A)'), hash: null, mtimeNs: -1, xattrs: null });
    // A directory is in no hard-link group, whatever it says.
    expect(catalog.byRowid(4)).toMatchObject({ hardlinkGroup: 0, linkCount: 3 });
    expect(catalog.byRowid(5)).toMatchObject({ size: 0x0501 });
    expect([0, -1, 6, 1.5, NaN, 2 ** 32].map((rowid) => catalog.byRowid(rowid))).toEqual(Array(6).fill(undefined));
    expect(catalog.byKey(key('/none'))).toBeUndefined();
    expect(catalog.rootEntry().rowid).toBe(1);
    expect(names(catalog)).toEqual(['f', 'l', 'd', 'dev']);
    expect(names(catalog, '/f')).toEqual([]);
    expect([catalog.revision, catalog.schemaRevision, catalog.ttlSeconds, catalog.rootPrefix.length, catalog.property('schema')]).toEqual([3, 7, 240, 0, '2.5']);
  });

  it('lists in row order, page by page, from anywhere', () => {
    const rows: Row[] = [ROOT, ...Array.from({ length: 250 }, (_, i): Row => ({ path: `/f${i}`, rowid: 1000 - i })), { path: '/d', ...DIRECTORY, rowid: 5 }, { path: '/d/x', rowid: 6 }];
    const catalog = open({ rows });
    const seen: number[] = [];
    for (let page = catalog.children(key(''), 0, 64); page.length > 0; page = catalog.children(key(''), seen[seen.length - 1]!, 64)) {
      expect(page.length).toBeLessThanOrEqual(64);
      seen.push(...page.map((entry) => entry.rowid));
    }
    expect(seen).toEqual([5, ...Array.from({ length: 250 }, (_, i) => 751 + i)]);
    expect(catalog.children(key(''), 999, 10).map((entry) => entry.rowid)).toEqual([1000]);
    expect(catalog.children(key(''), 0xffffffff, 10)).toEqual([]);
  });

  it('keeps names and links that are not UTF-8', () => {
    const odd = [Buffer.from('/caf\xe9\xff', 'latin1'), Buffer.from('/\ufffd'), Buffer.from('/\ufeffbom'), Buffer.from('/日本'), Buffer.from('/\xed\xa0\x80', 'latin1'), Buffer.from('/\x01\x7f')];
    const catalog = open({
      rows: [ROOT, ...odd.map((each): Row => ({ path: each })), { path: '/link', flags: 12, mode: 0o120777, symlink: Buffer.of(0xff, 0xfe, 0x2f) }],
    });
    expect(catalog.children(key(''), 0, 100).map((entry) => entry.name)).toEqual([...odd.map((each) => each.subarray(1)), Buffer.from('link')]);
    for (const each of odd) expect(catalog.pathOf(catalog.byKey(pathKey(each))!)).toEqual(each);
    expect(catalog.byKey(key('/link'))?.symlink).toEqual(Buffer.of(0xff, 0xfe, 0x2f));
  });

  it('keeps any name that a file may have', () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 255 }).map((bytes) => Buffer.from(bytes)).filter((bytes) => isEntryPath(Buffer.concat([Buffer.from('/'), bytes])) && !bytes.includes(0x2f));
    const unique = fc.uniqueArray(name, { minLength: 1, maxLength: 60, selector: (bytes) => bytes.toString('hex') });
    fc.assert(
      fc.property(unique, (all) => {
        const catalog = open({ rows: [ROOT, ...all.map((each): Row => ({ path: Buffer.concat([Buffer.from('/'), each]) }))] });
        expect(catalog.children(key(''), 0, 100).map((entry) => entry.name)).toEqual(all);
        expect(catalog.hiddenEntries).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it('finds what is attached, at exactly its path, nested before bound', () => {
    const hash = 'a'.repeat(40);
    const catalog = open({
      nested: [
        { path: '/foo', sha1: hash, size: 1000 },
        { path: Buffer.from('/b\xff', 'latin1'), sha1: `${hash}-shake128` },
        { table: 'bind_mountpoints', path: '/.cvmfs/snapshots/t', sha1: `${hash}-rmd160`, size: 5 },
        { table: 'bind_mountpoints', path: '/foo', sha1: 'b'.repeat(40) },
      ],
    });
    const at = (text: Buffer | string): unknown => {
      const found = catalog.nestedAt(Buffer.from(text));
      return found === undefined ? undefined : { ...found, hash: formatHash(found.hash) };
    };
    expect(at('/foo')).toEqual({ path: Buffer.from('/foo'), hash, size: 1000, bind: false });
    expect(at(Buffer.from('/b\xff', 'latin1'))).toMatchObject({ hash: `${hash}-shake128`, size: 0, bind: false });
    expect(at('/.cvmfs/snapshots/t')).toMatchObject({ hash: `${hash}-rmd160`, bind: true });
    expect(['/foobar', '/fo', '/foo/', '/FOO', ''].map(at)).toEqual(Array(5).fill(undefined));
    expect(catalog.nested().map((each) => each.bind)).toEqual([false, false, true, true]);
  });

  it('knows the lowest row of a hard-link group, in a directory and in all', () => {
    const group = (number: bigint): Partial<Row> => ({ hardlinks: (number << 32n) | 3n });
    const rows: Row[] = [ROOT, { path: '/d', ...DIRECTORY }, ...Array.from({ length: 3000 }, (_, i): Row => ({ path: `/d/${i}`, ...group(BigInt(1 + (i % 1500))) })), { path: '/x', ...group(7n) }];
    const catalog = open({ rows });
    const entries = catalog.children(key('/d'), 0, 5000);
    expect(entries.length).toBe(3000);
    for (const entry of entries) expect(catalog.lowestRowidOfGroup(entry.hardlinkGroup, entry.parent)).toBe(3 + ((entry.rowid - 3) % 1500));
    expect(catalog.lowestRowidOfGroup(7, key(''))).toBe(3003);
    expect(catalog.lowestRowidOfGroup(7)).toBe(9);
    expect(catalog.lowestRowidOfGroup(0)).toBeUndefined();
    expect(catalog.lowestRowidOfGroup(8000, key('/d'))).toBeUndefined();
  });

  it('gives chunks that cover the file', () => {
    const catalog = open({
      rows: [ROOT, { path: '/f', flags: 4 | 64, size: 30, hash: null }, { path: '/g', flags: 4 }],
      chunks: [
        { path: '/f', offset: 10, size: 15 },
        { path: '/f', offset: 0, size: 10 },
        { path: '/f', offset: 25, size: 5 },
      ],
    });
    expect(catalog.chunks(catalog.byKey(key('/f'))!).map(({ offset, size }) => [offset, size])).toEqual([[0, 10], [10, 15], [25, 5]]);
    expect(catalog.chunks(catalog.byKey(key('/g'))!)).toEqual([]);
  });

  it('reads old revisions that lack the late columns, and upgraded ones that have them last', () => {
    const early = SCHEMA['catalog']!.replace(' mtimens INTEGER,', '').replace(', xattr BLOB', '');
    const upgraded = open({
      schema: { catalog: early, bind_mountpoints: '' },
      properties: { schema_revision: '1' },
      before: () => undefined,
      rows: [],
      after: (db) => {
        db.exec('ALTER TABLE catalog ADD COLUMN xattr BLOB; ALTER TABLE catalog ADD COLUMN mtimens INTEGER');
        const { hi, lo } = key('');
        db.prepare(`INSERT INTO catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, size, mode, mtime, flags, name, uid, gid) VALUES (?, ?, 0, 0, 1, 4096, ?, 5, 1, '', 0, 0)`).run(hi, lo, 0o40755);
      },
    });
    expect(upgraded.rootEntry()).toMatchObject({ mtime: 5, mtimeNs: -1, xattrs: null });
    const old = open({
      schema: { catalog: early, bind_mountpoints: '', nested_catalogs: 'CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, CONSTRAINT pk_nested_catalogs PRIMARY KEY (path))' },
      properties: { schema: '2.4', schema_revision: '0' },
      rows: [],
      after: (db) => {
        const { hi, lo } = key('');
        db.prepare(`INSERT INTO catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, size, mode, mtime, flags, name, uid, gid) VALUES (?, ?, 0, 0, 1, 4096, ?, 5, 1, '', 0, 0)`).run(hi, lo, 0o40755);
        db.prepare('INSERT INTO nested_catalogs VALUES (?, ?)').run('/n', 'a'.repeat(40));
      },
    });
    expect(old.rootEntry()).toMatchObject({ mtime: 5, mtimeNs: -1, xattrs: null });
    expect(old.nestedAt(Buffer.from('/n'))?.size).toBe(0);
    expect(old.schemaRevision).toBe(0);
  });

  it('is read with 1 KiB pages, whose schema fills several', () => {
    const catalog = open({ before: (db) => db.pragma('page_size = 1024'), rows: [ROOT, { path: '/f' }] });
    expect(names(catalog)).toEqual(['f']);
  });

  it('writes nothing beside itself, and stays readable when it is removed', () => {
    const folder = fs.mkdtempSync(path.join(scratch, 'alone-'));
    const file = makeCatalog(path.join(folder, 'a?b%20#.txt'), { rows: [ROOT, { path: '/f' }] });
    const catalog = Catalog.open(file);
    opened.push(catalog);
    expect(fs.readdirSync(folder)).toEqual(['a?b%20#.txt']);
    fs.unlinkSync(file);
    expect(names(catalog)).toEqual(['f']);
  });

  it('does not take up a journal that lies beside it', () => {
    const file = make({ rows: [ROOT, { path: '/f' }] });
    const journal = Buffer.concat([Buffer.from('d9d505f920a163d7', 'hex'), Buffer.alloc(1000, 1)]);
    fs.writeFileSync(`${file}-journal`, journal);
    const before = fs.readFileSync(file);
    try {
      opened.push(Catalog.open(file));
    } catch (error) {
      expect(error).toBeInstanceOf(Failure);
    }
    expect(fs.readFileSync(file).equals(before)).toBe(true);
    expect(fs.readFileSync(`${file}-journal`).equals(journal)).toBe(true);
    fs.unlinkSync(`${file}-journal`);
  });

  it('is only a root catalog when it has no prefix', () => {
    const rows: Row[] = [{ path: '/a/b', ...DIRECTORY, flags: 33 }, { path: '/a/b/c' }];
    const file = make({ rows, properties: { root_prefix: '/a/b' } });
    expect(() => Catalog.open(file, { expectRoot: true })).toThrow(invalid);
    const catalog = Catalog.open(file);
    opened.push(catalog);
    expect(catalog.rootEntry().name.toString()).toBe('b');
    expect(catalog.pathOf(catalog.byRowid(2)!).toString()).toBe('/a/b/c');
    expect(catalog.pathOf(catalog.rootEntry()).toString()).toBe('/a/b');
  });

  it('reports a file that is not there as a fault of the system', () => {
    expect(() => Catalog.open(path.join(scratch, 'none'))).toThrow(expect.objectContaining({ code: 'SYSTEM' }));
    expect(() => Catalog.open(scratch)).toThrow(Failure);
    for (const name of ['', ':memory:', 'relative', `${scratch}/x `]) expect(() => Catalog.open(name)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

function editSchema(db: Sqlite.Database, update: string, first = ''): void {
  if (first !== '') db.exec(first);
  db.unsafeMode(true);
  db.pragma('writable_schema = on');
  db.exec(update);
}

describe('a catalog in a worker thread', () => {
  it('is opened by several threads at the same time', async () => {
    const file = make({ rows: [ROOT, { path: '/f' }] });
    // The sources are TypeScript, which a worker cannot load: the binding is what has to work there.
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const Sqlite = require(workerData.binding);
      const db = new Sqlite(workerData.file, { readonly: true, fileMustExist: true });
      db.pragma('locking_mode = exclusive');
      parentPort.postMessage(db.prepare('SELECT count(*) FROM catalog').pluck().get());
      parentPort.once('message', () => db.close());`;
    opened.push(Catalog.open(file));
    const workers = [1, 2].map(() => new Worker(code, { eval: true, workerData: { file, binding: require.resolve('better-sqlite3') } }));
    const counts = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))));
    expect(counts).toEqual([2, 2]);
    expect(names(opened[0]!)).toEqual(['f']);
    await Promise.all(
      workers.map((worker) => {
        worker.postMessage('end');
        return new Promise((resolve) => worker.once('exit', resolve));
      }),
    );
  });
});

describe('a hostile catalog', () => {
  const refusals: Array<[string, Recipe | ((file: string) => void)]> = [
    ['no SQLite file', (file) => fs.writeFileSync(file, 'hello'.repeat(100))],
    ['an empty file', (file) => fs.writeFileSync(file, '')],
    ['cut after its first page', (file) => fs.truncateSync(makeCatalog(file), 4096)],
    ['cut in its first page', (file) => fs.truncateSync(makeCatalog(file), 3000)],
    ['a view in place of the table', { schema: { catalog: 'CREATE TABLE real_catalog (x)', idx_catalog_parent: 'CREATE VIEW catalog AS SELECT * FROM real_catalog' }, rows: [] }],
    ['a view beside the tables', { after: (db) => db.exec('CREATE VIEW harmless AS SELECT 1') }],
    ['a trigger', { after: (db) => db.exec('CREATE TRIGGER catalog_t AFTER INSERT ON catalog BEGIN SELECT 1; END') }],
    ['a virtual table', { after: (db) => db.exec('CREATE VIRTUAL TABLE v USING fts5(x)') }],
    ['a virtual catalog', { schema: { catalog: 'CREATE VIRTUAL TABLE catalog USING rtree(id, md5path_1, md5path_2)', idx_catalog_parent: '' }, rows: [] }],
    ['a table WITHOUT ROWID', { schema: { catalog: `${SCHEMA['catalog']!} WITHOUT/**/ROWID` } }],
    ['a column named rowid', { schema: { catalog: SCHEMA['catalog']!.replace('md5path_1 INTEGER,', 'rowid INTEGER, md5path_1 INTEGER,') } }],
    ['a column named oid', { schema: { catalog: SCHEMA['catalog']!.replace('xattr BLOB,', 'xattr BLOB, OID INTEGER,') } }],
    ['a computed column', { schema: { catalog: SCHEMA['catalog']!.replace('xattr BLOB', 'xattr BLOB GENERATED ALWAYS AS (zeroblob(1000000)) VIRTUAL') }, rows: [] }],
    ['a stored computed column', { schema: { catalog: SCHEMA['catalog']!.replace('xattr BLOB', 'xattr BLOB, extra AS (size + 1) STORED') } }],
    ['a missing column', { schema: { catalog: SCHEMA['catalog']!.replace(' symlink TEXT,', '') }, rows: [] }],
    ['no catalog table', { schema: { catalog: '', idx_catalog_parent: '' }, rows: [] }],
    ['no properties', (file) => void makeCatalog(file, { after: (db) => db.exec('DROP TABLE properties') })],
    ['no index of parents', { schema: { idx_catalog_parent: '' } }],
    ['an index of parents over some rows', { schema: { idx_catalog_parent: 'CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2) WHERE size > 5' } }],
    ['an index of parents that descends', { schema: { idx_catalog_parent: 'CREATE INDEX idx_catalog_parent ON catalog (parent_1 DESC, parent_2)' } }],
    ['an index over an expression', { schema: { idx_catalog_parent: 'CREATE INDEX idx_catalog_parent ON catalog (parent_1 + 1, parent_2)' } }],
    ['an index of other columns', { schema: { idx_catalog_parent: 'CREATE INDEX idx_catalog_parent ON catalog (parent_2, parent_1)' } }],
    ['row number 0', { rows: [ROOT, { path: '/f', rowid: 0 }] }],
    ['a negative row number', { rows: [ROOT, { path: '/f', rowid: -5 }] }],
    ['a row number of 2^32', { rows: [ROOT, { path: '/f', rowid: 2 ** 32 }] }],
    ['the highest row number of all', { rows: [ROOT, { path: '/f', rowid: 2n ** 63n - 1n }] }],
    ['no root row', { rows: [{ path: '/f' }] }],
    ['no rows', { rows: [] }],
    ['a root that is a file', { rows: [{ path: '', name: '' }] }],
    ['a prefix that is not a path', { properties: { root_prefix: '/a/../b' } }],
    ['a legacy schema', { properties: { schema: '1.0' } }],
    ['schema 2.3', { properties: { schema: '2.3' } }],
    ['a later schema', { properties: { schema: '3.0' } }],
    ['a schema that is no number', { properties: { schema: 'new' } }],
    ['a revision that is no number', { properties: { revision: '-1' } }],
    ['statistics for the planner', { after: (db) => db.exec('ANALYZE') }],
    ['text in UTF-16', { before: (db) => db.pragma('encoding = "UTF-16le"') }],
    ['hundreds of tables', { after: (db) => Array.from({ length: 100 }, (_, i) => db.exec(`CREATE TABLE t${i} (x)`)) }],
    ['a schema row of a megabyte', { after: (db) => db.exec(`CREATE TABLE t (x /* ${'a'.repeat(1_000_000)} */)`) }],
    ['thousands of properties', { after: (db) => Array.from({ length: 1100 }, (_, i) => db.prepare('INSERT INTO properties VALUES (?, ?)').run(`k${i}`, 'v')) }],
    [
      'write-ahead mode',
      (file) => {
        makeCatalog(file, { after: (db) => db.pragma('journal_mode = wal') });
        for (const suffix of ['-wal', '-shm']) fs.rmSync(file + suffix, { force: true });
      },
    ],
    [
      'a schema whose pages are a loop',
      (file) => {
        makeCatalog(file, { before: (db) => db.pragma('page_size = 1024') });
        const bytes = fs.readFileSync(file);
        // Page 1 is an inner page here: its rightmost child becomes itself.
        expect(bytes[100]).toBe(5);
        bytes.writeUInt32BE(1, 108);
        fs.writeFileSync(file, bytes);
      },
    ],
    ['a schema that says table and makes a view', { after: (db) => editSchema(db, "UPDATE sqlite_schema SET type = 'table' WHERE name = 'v'", 'CREATE VIEW v AS SELECT 1') }],
    ['a schema that says index and makes a trigger', { after: (db) => editSchema(db, "UPDATE sqlite_schema SET type = 'index' WHERE name = 't'", 'CREATE TRIGGER t AFTER INSERT ON catalog BEGIN SELECT 1; END') }],
    ['a table that lies on the pages of another', { after: (db) => editSchema(db, "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'properties') WHERE name = 'catalog'") }],
  ];
  it.each(refusals)('with %s is refused', (_what, how) => {
    const file = path.join(scratch, String((made += 1)));
    if (typeof how === 'function') how(file);
    else makeCatalog(file, how);
    expect(() => opened.push(Catalog.open(file))).toThrow(invalid);
    expect([`${file}-journal`, `${file}-wal`, `${file}-shm`].filter((each) => fs.existsSync(each))).toEqual([]);
  });

  it.each<[string, Partial<Row>]>([
    ['a slash in its name', { name: 'a/b' }],
    ['a NUL in its name', { name: 'a\0b' }],
    ['no name', { name: '' }],
    ['a NULL name', { name: null }],
    ['the name .', { name: '.' }],
    ['the name ..', { name: '..' }],
    ['a name of 256 bytes', { name: 'x'.repeat(256) }],
    ['a negative size', { size: -1 }],
    ['a size beyond 2^53', { size: 2n ** 53n }],
    ['the highest size of all', { size: 2n ** 63n - 1n }],
    ['a size that is text', { size: 'big' }],
    ['an owner that is text', { uid: 'root' }],
    ['a mode that says directory', { mode: 0o40755 }],
    ['a mode that says nothing', { mode: 0o644 }],
    ['a hash that is short', { hash: Buffer.alloc(19, 1) }],
    ['an unknown hash algorithm', { flags: 4 | (5 << 8) }],
    ['an unknown compression', { flags: 4 | (3 << 11) }],
    ['no type', { flags: 0 }],
    ['a link without a target', { flags: 12, mode: 0o120777, symlink: '' }],
    ['a link with a NUL in its target', { flags: 12, mode: 0o120777, symlink: 'a\0b' }],
    ['a link of 4096 bytes', { flags: 12, mode: 0o120777, symlink: 'x'.repeat(4096) }],
  ])('has an entry with %s left out, and counts it', (_what, row) => {
    const catalog = open({ rows: [ROOT, { path: '/before' }, { path: '/odd', ...row }, { path: '/after' }] });
    expect(names(catalog)).toEqual(['before', 'after']);
    expect(catalog.byKey(key('/odd'))).toBeUndefined();
    expect(catalog.byRowid(3)).toBeUndefined();
    expect(catalog.entriesAfter(0, 2).length).toBe(2);
    expect(catalog.hiddenEntries).toBe(1);
  });

  it('has a page of unfit rows that is not taken for the end', () => {
    const catalog = open({ rows: [ROOT, ...Array.from({ length: 50 }, (_, i): Row => ({ path: `/x${i}`, name: '..' })), { path: '/last' }] });
    expect(catalog.children(key(''), 0, 10).map((entry) => entry.name.toString())).toEqual(['last']);
    expect(catalog.hiddenEntries).toBe(50);
  });

  it('has a directory inside itself, which is neither listed nor walked for ever', () => {
    const catalog = open({
      rows: [ROOT, { path: '/self', parent: '/self', ...DIRECTORY }, { path: '/a', parent: '/b', ...DIRECTORY }, { path: '/b', parent: '/a', ...DIRECTORY }, { path: '/moved', name: 'elsewhere' }, { path: '/orphan/x' }],
    });
    expect(names(catalog, '/self')).toEqual([]);
    for (const path of ['/self', '/a', '/b', '/moved', '/orphan/x']) expect(() => catalog.pathOf(catalog.byKey(key(path))!)).toThrow(invalid);
  });

  it('has an index whose pages are shared, and a listing ends all the same', () => {
    const file = make({ rows: [ROOT, ...Array.from({ length: 3000 }, (_, i): Row => ({ path: `/file-${i}` }))] });
    const db = new Sqlite(file, { readonly: true });
    const page = (db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'idx_catalog_parent'").pluck().get() as number) - 1;
    db.close();
    const bytes = fs.readFileSync(file);
    const root = bytes.subarray(page * 4096, page * 4096 + 4096);
    expect(root[0]).toBe(2);
    const first = root.readUInt32BE(root.readUInt16BE(12));
    for (let i = 0; i < root.readUInt16BE(3); i += 1) root.writeUInt32BE(first, root.readUInt16BE(12 + 2 * i));
    root.writeUInt32BE(first, 8);
    fs.writeFileSync(file, bytes);
    const catalog = Catalog.open(file);
    opened.push(catalog);
    let after = 0;
    let seen = 0;
    try {
      for (let rows = catalog.children(key(''), after, 100); rows.length > 0; rows = catalog.children(key(''), after, 100)) {
        after = rows[rows.length - 1]!.rowid;
        seen += rows.length;
      }
    } catch (error) {
      expect(error).toEqual(invalid);
    }
    expect(seen).toBeLessThanOrEqual(3001);
  });

  it('has a root that lists itself, which is left out', () => {
    const catalog = open({ rows: [{ ...ROOT, parent: '' }, { path: '/f' }] });
    expect(names(catalog)).toEqual(['f']);
  });

  it.each<[string, NonNullable<Recipe['chunks']>]>([
    ['none', []],
    ['a gap', [{ path: '/f', offset: 0, size: 10 }, { path: '/f', offset: 11, size: 19 }]],
    ['an overlap', [{ path: '/f', offset: 0, size: 10 }, { path: '/f', offset: 9, size: 21 }]],
    ['a late beginning', [{ path: '/f', offset: 5, size: 25 }]],
    ['too little', [{ path: '/f', offset: 0, size: 29 }]],
    ['too much', [{ path: '/f', offset: 0, size: 31 }]],
    ['one of no size', [{ path: '/f', offset: 0, size: 0 }, { path: '/f', offset: 0, size: 30 }]],
    ['one of negative size', [{ path: '/f', offset: 0, size: -5 }, { path: '/f', offset: 0, size: 30 }]],
    ['one without a hash', [{ path: '/f', offset: 0, size: 30, hash: null }]],
    ['one with a short hash', [{ path: '/f', offset: 0, size: 30, hash: Buffer.alloc(19) }]],
    ['one of a size beyond counting', [{ path: '/f', offset: 0, size: 2n ** 62n }]],
  ])('has chunks with %s, which are refused', (_what, chunks) => {
    const catalog = open({ rows: [ROOT, { path: '/f', flags: 4 | 64, size: 30, hash: null }], chunks });
    expect(() => catalog.chunks(catalog.byKey(key('/f'))!)).toThrow(invalid);
  });

  it.each([
    ['/n', 'nonsense'],
    ['/n', ''],
    ['/n', `${'a'.repeat(40)}C`],
  ])('has a nested catalog at %s with the hash %j, which is refused when asked for', (at, sha1) => {
    const catalog = open({ nested: [{ path: at, sha1 }] });
    expect(() => catalog.nestedAt(Buffer.from(at))).toThrow(invalid);
    expect(() => catalog.nested()).toThrow(invalid);
  });

  it.each(['relative', '/', '/a/', '/a//b', '/a/./b', '/..', ''])('has a nested catalog at %j, which is refused in the list', (at) => {
    const catalog = open({ nested: [{ path: at, sha1: 'a'.repeat(40) }] });
    expect(() => catalog.nested()).toThrow(invalid);
  });

  it('never throws anything but a Failure, whatever bytes of it are changed', () => {
    const good = fs.readFileSync(make({ rows: [ROOT, ...Array.from({ length: 200 }, (_, i): Row => ({ path: `/file-${i}` }))], nested: [{ path: '/n', sha1: 'a'.repeat(40) }] }));
    const changes = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(changes, (all) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of all) bytes[at] = value;
        const file = path.join(scratch, 'changed');
        fs.rmSync(file, { force: true });
        fs.writeFileSync(file, bytes);
        let catalog: Catalog | undefined;
        try {
          catalog = Catalog.open(file);
          const rows = catalog.children(key(''), 0, 1000);
          expect(rows.every((entry) => !entry.name.includes(0x2f) && entry.name.length > 0)).toBe(true);
          for (const entry of rows) catalog.byKey(entry.key);
          catalog.nested();
          catalog.statistics();
          catalog.lowestRowidOfGroup(1);
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
        } finally {
          catalog?.close();
        }
      }),
      { numRuns: 300 },
    );
  });
});
