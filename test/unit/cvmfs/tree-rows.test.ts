/** Our own reader of a catalog's b-trees, with SQLite as the oracle. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as zlib from 'node:zlib';
import fc from 'fast-check';
import { Catalog } from '../../../src/cvmfs/catalog';
import type { CatalogRows, NumberedEntry } from '../../../src/cvmfs/catalog-rows';
import { pathKey } from '../../../src/cvmfs/path-key';
import type { PathKey } from '../../../src/cvmfs/path-key';
import { PagePool } from '../../../src/cvmfs/sqlite/page-file';
import { parseIndex, parseTable } from '../../../src/cvmfs/sqlite/statement';
import { SqlRows } from '../../../src/cvmfs/sql-rows';
import { openTreeRows } from '../../../src/cvmfs/tree-rows';
import { Failure } from '../../../src/error';
import { describeWithFixtures } from '../../support/fixtures';
import { DIRECTORY, makeCatalog, ROOT, SCHEMA } from './catalog-maker';
import type { Recipe, Row } from './catalog-maker';

let scratch: string;
let made = 0;
beforeAll(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'tree-rows-'));
});
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));
const fresh = (): string => path.join(scratch, String((made += 1)));

function own(file: string, pool = new PagePool(64 * 1024)): CatalogRows {
  const rows = openTreeRows(file, 'the catalog', pool);
  if ('unfamiliar' in rows) throw new Error(`unfamiliar: ${rows.unfamiliar}`);
  return rows;
}

/** jest's comparison takes seconds for what mostly is equal. */
function same(seen: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(seen, expected)) expect(seen).toEqual(expected);
}

/** Everything that a catalog's file can be asked, from one of the two readers. */
function ask(rows: CatalogRows, keys: readonly PathKey[], pageRows: number): unknown {
  const all: NumberedEntry[] = [];
  for (let page = rows.all(0, pageRows); page.length > 0; page = rows.all(page[page.length - 1]!.rowid, pageRows)) all.push(...page);
  const rowids = [...all.map(({ rowid }) => rowid), all.length + 1, 0, 2 ** 31];
  const childrenOf = (key: PathKey): NumberedEntry[] => {
    const children: NumberedEntry[] = [];
    for (let page = rows.children(key, 0, pageRows); page.length > 0; page = rows.children(key, page[page.length - 1]!.rowid, pageRows)) children.push(...page);
    return children;
  };
  const nested = rows.nested();
  return {
    extremes: rows.extremes(),
    properties: new Map([...rows.properties()].sort()),
    statistics: rows.statistics(),
    all,
    byRowid: rowids.map((rowid) => rows.byRowid(rowid)),
    byKey: keys.map((key) => rows.byKey(key)),
    children: keys.map(childrenOf),
    nested,
    nestedAt: [...nested.map((each) => each.path as Buffer), Buffer.from('/none'), Buffer.alloc(0)].map((at) => rows.nestedAt(at)),
    chunks: keys.map((key) => [...(rows.chunks(key) ?? [])]),
  };
}

function keysOf(rows: CatalogRows): PathKey[] {
  const keys = [pathKey(Buffer.from('/not there')), pathKey(Buffer.alloc(0))];
  for (let page = rows.all(0, 1000); page.length > 0; page = rows.all(page[page.length - 1]!.rowid, 1000)) for (const { entry } of page) if (entry !== undefined) keys.push(entry.key);
  return keys;
}

function compare(file: string, pageRows: number, pool?: PagePool): void {
  const sql = new SqlRows(file, 'the catalog');
  const tree = own(file, pool);
  try {
    // Of a large one some: what is said of one row is said of all.
    const keys = keysOf(sql).filter((_, i, all) => i % Math.ceil(all.length / 400) === 0);
    same(ask(tree, keys, pageRows), ask(sql, keys, pageRows));
    // The scan sees what the list sees.
    for (const key of keys.slice(0, 200)) {
      const scanned: unknown[] = [];
      const scan = tree.scan!(key, 0, 100_000);
      while (scan.next()) scanned.push({ rowid: scan.row.rowid, entry: scan.row.fit ? scan.row.entry({ parent: key }) : undefined });
      same(scanned, tree.children(key, 0, 100_000));
    }
  } finally {
    sql.close();
    tree.close();
  }
}

const nameBytes = fc.uint8Array({ minLength: 1, maxLength: 255 }).map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0x2f || byte === 0 ? 0x61 : byte))));
/** Some rows that are fit to be seen, and some that are not. */
const rowParts = fc.record({
  name: nameBytes,
  kind: fc.constantFrom('file', 'link', 'directory', 'wrong mode', 'short hash', 'group'),
  size: fc.oneof(fc.nat(300), fc.bigInt(0n, 2n ** 62n), fc.bigInt(-(2n ** 62n), 0n)),
  target: nameBytes,
  targetRepeats: fc.nat(20),
  xattrBytes: fc.oneof(fc.constant(0), fc.nat(600), fc.constantFrom(5_000, 140_000)),
  mtime: fc.integer({ min: -(2 ** 31), max: 2 ** 31 }),
  gap: fc.oneof(fc.constant(1), fc.nat(70_000).map((n) => n + 1)),
  inFirst: fc.boolean(),
});
const recipe = fc.record({
  pageBytes: fc.constantFrom(512, 1024, 4096, 8192, 65536),
  rows: fc.uniqueArray(rowParts, { minLength: 0, maxLength: 60, selector: ({ name, inFirst }) => `${String(inFirst)} ${name.toString('hex')}` }),
  removeEvery: fc.constantFrom(0, 2, 3, 7),
  vacuum: fc.boolean(),
  pageRows: fc.constantFrom(1, 7, 128),
  chunks: fc.nat(40),
  nested: fc.uniqueArray(nameBytes, { maxLength: 30, selector: (name) => name.toString('hex') }),
  poolBytes: fc.constantFrom(1, 200_000, 4_000_000),
});

describe('a catalog read by ourselves', () => {
  it('says of random catalogs what SQLite says', () => {
    fc.assert(
      fc.property(recipe, ({ pageBytes, rows, removeEvery, vacuum, pageRows, chunks, nested, poolBytes }) => {
        let rowid = 2;
        const all: Row[] = [
          ROOT,
          { path: '/d', ...DIRECTORY },
          ...rows.filter(({ name, inFirst }) => !inFirst || name.toString() !== 'd').map((row): Row => {
            rowid += row.gap;
            const at = Buffer.concat([Buffer.from(row.inFirst ? '/' : '/d/'), row.name]);
            const target = Buffer.concat(Array<Buffer>(row.targetRepeats).fill(row.target)).subarray(0, 4096);
            const shape: Partial<Row> =
              row.kind === 'link'
                ? { flags: 12, mode: 0o120777, symlink: target, hash: null }
                : row.kind === 'directory'
                  ? { ...DIRECTORY }
                  : row.kind === 'wrong mode'
                    ? { mode: 0o040755 }
                    : row.kind === 'short hash'
                      ? { hash: Buffer.alloc(19, 1) }
                      : row.kind === 'group'
                        ? { hardlinks: (BigInt(row.gap) << 32n) | 2n }
                        : {};
            return { path: at, rowid, size: row.size, mtime: row.mtime, xattr: row.xattrBytes === 0 ? null : Buffer.alloc(row.xattrBytes, rowid), ...shape };
          }),
        ];
        const file = makeCatalog(fresh(), {
          before: (db) => db.pragma(`page_size = ${pageBytes}`),
          rows: all,
          chunks: Array.from({ length: chunks }, (_, i) => ({ path: '/d', offset: i * 1000, size: 1000 })),
          nested: nested.map((name, i) => ({ path: Buffer.concat([Buffer.from('/'), name]), sha1: 'ab'.repeat(20), size: i, table: i % 3 === 0 ? 'bind_mountpoints' : 'nested_catalogs' })),
          after: (db) => {
            if (removeEvery > 0) db.exec(`DELETE FROM catalog WHERE rowid > 2 AND rowid % ${removeEvery} = 0`);
            for (let i = 0; i < 24; i += 1) db.exec(`INSERT INTO statistics VALUES ('self_${i}', ${i * 1_000_000})`);
            if (vacuum) db.exec('VACUUM');
          },
        });
        compare(file, pageRows, new PagePool(poolBytes));
        fs.rmSync(file);
      }),
      { numRuns: 150, endOnFailure: true },
    );
  }, 120_000);

  it('finds its way in trees of many levels, with holes and a pool of one page', () => {
    const rows: Row[] = [ROOT, ...Array.from({ length: 8 }, (_, i): Row => ({ path: `/d${i}`, ...DIRECTORY })), ...Array.from({ length: 6000 }, (_, i): Row => ({ path: `/d${i % 8}/${i}-${'n'.repeat(i % 97)}` }))];
    const file = makeCatalog(fresh(), { before: (db) => db.pragma('page_size = 512'), rows, after: (db) => db.exec('DELETE FROM catalog WHERE rowid BETWEEN 1000 AND 3000 OR (rowid > 4000 AND rowid % 5 <> 0)') });
    compare(file, 128, new PagePool(1));
  }, 60_000);

  it('reads columns that an upgrade has added, which old rows do not have', () => {
    const early = SCHEMA['catalog']!.replace(' mtimens INTEGER,', '').replace(', xattr BLOB', '');
    const file = makeCatalog(fresh(), {
      schema: { catalog: early },
      rows: [],
      after: (db) => {
        const insert = (at: string, columns: string, ...values: unknown[]): void => {
          const { hi, lo } = pathKey(Buffer.from(at));
          db.prepare(`INSERT INTO catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, size, mode, mtime, flags, name, uid, gid${columns}) VALUES (?, ?, 0, 0, 1, 4096, ?, 5, 1, ?, 0, 0${values.map(() => ', ?').join('')})`).run(hi, lo, 0o40755, at.slice(1), ...values);
        };
        insert('', '');
        db.exec('ALTER TABLE catalog ADD COLUMN xattr BLOB; ALTER TABLE catalog ADD COLUMN mtimens INTEGER');
        insert('/late', ', xattr, mtimens', Buffer.from('0100', 'hex'), 77);
      },
    });
    compare(file, 10);
  });

  it('leaves to SQLite what it does not understand, once said', () => {
    const odd: Recipe['schema'] = { catalog: SCHEMA['catalog']!.replace('gid INTEGER', 'gid INTEGER DEFAULT 7') };
    const why: string[] = [];
    const catalog = Catalog.open(makeCatalog(fresh(), { schema: odd, rows: [ROOT, { path: '/f' }] }), { unfamiliar: (text) => why.push(text) });
    expect(catalog.children(pathKey(Buffer.alloc(0)), 0, 10).map((entry) => entry.name.toString())).toEqual(['f']);
    expect(catalog.listPage(pathKey(Buffer.alloc(0)), 0, 10)).toMatchObject({ entries: [{ rowid: 2 }], lastRowid: 2, end: true });
    expect(why).toEqual(['its table catalog was not made as the tools make it']);
    catalog.close();
  });

  it('stays readable when its file is removed', () => {
    const file = makeCatalog(fresh(), { rows: [ROOT, ...Array.from({ length: 2000 }, (_, i): Row => ({ path: `/${i}` }))] });
    const rows = own(file, new PagePool(1));
    fs.rmSync(file);
    expect(rows.children(pathKey(Buffer.alloc(0)), 0, 5000)).toHaveLength(2000);
    rows.close();
  });

  it('keeps no more pages than its pool may hold, of however many files', () => {
    const pool = new PagePool(40_000);
    const opened = Array.from({ length: 12 }, (_, i) => own(makeCatalog(fresh(), { before: (db) => db.pragma(`page_size = ${i % 2 === 0 ? 1024 : 8192}`), rows: [ROOT, ...Array.from({ length: 300 }, (_, k): Row => ({ path: `/${i}-${k}` }))] }), pool));
    for (let round = 0; round < 3; round += 1) for (const rows of opened) expect(rows.children(pathKey(Buffer.alloc(0)), 0, 1000)).toHaveLength(300);
    expect(pool.bytes).toBeLessThanOrEqual(40_000);
    for (const rows of opened) rows.close();
  });
});

describe('a damaged catalog read by ourselves', () => {
  const recipes: Record<string, Recipe> = {
    small: { before: (db) => db.pragma('page_size = 512'), rows: [ROOT, { path: '/d', ...DIRECTORY }, ...Array.from({ length: 300 }, (_, i): Row => ({ path: `/d/file-${i}`, xattr: i % 40 === 0 ? Buffer.alloc(2000, i) : null }))], nested: [{ path: '/n', sha1: 'a'.repeat(40) }], chunks: [{ path: '/d', offset: 0, size: 9 }] },
    usual: { rows: [ROOT, { path: '/d', ...DIRECTORY }, ...Array.from({ length: 800 }, (_, i): Row => ({ path: `/d/file-${i}` }))], nested: [{ path: '/n', sha1: 'a'.repeat(40) }] },
  };

  /** Asks for everything; every loop of ours is bounded, and whoever reads the listing ends too. */
  function exercise(file: string): void {
    let rows: CatalogRows | undefined;
    try {
      rows = own(file);
      for (const at of ['', '/d', '/d/file-7']) {
        const key = pathKey(Buffer.from(at));
        rows.byKey(key);
        let after = 0;
        for (let page = rows.children(key, after, 50); page.length > 0; page = rows.children(key, after, 50)) {
          for (const { rowid, entry } of page) {
            if (rowid <= after) throw new Error(`row ${rowid} after ${after}`);
            after = rowid;
            if (entry !== undefined && (entry.name.length > 255 || (entry.hash !== null && entry.hash.length !== 20))) throw new Error(`row ${rowid} is not fit to be seen`);
          }
        }
        expect([...(rows.chunks(key) ?? [])].length).toBeLessThan(1000);
      }
      for (let rowid = 0; rowid < 400; rowid += 1) rows.byRowid(rowid);
      rows.all(0, 1000);
      rows.extremes();
      rows.properties();
      rows.statistics();
      rows.nested();
      rows.nestedAt(Buffer.from('/n'));
    } catch (error) {
      if (!(error instanceof Failure) && !(error as Error).message.startsWith('unfamiliar')) throw error;
      if (error instanceof Failure) expect(error.code).toBe('CATALOG_INVALID');
    } finally {
      rows?.close();
    }
  }

  it.each(Object.keys(recipes))('of the %s kind gives a failure or an answer, whatever bytes are changed', (kind) => {
    const good = fs.readFileSync(makeCatalog(fresh(), recipes[kind]));
    const pageBytes = good.readUInt16BE(16);
    // Anywhere, and most in the first bytes of pages, where the trees are made of.
    const place = fc.oneof(fc.nat(good.length - 1), fc.tuple(fc.nat(good.length / pageBytes - 1), fc.nat(40)).map(([page, at]) => Math.min(good.length - 1, page * pageBytes + at + (page === 0 ? 100 : 0))));
    fc.assert(
      fc.property(fc.array(fc.tuple(place, fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255, 0x80))), { minLength: 1, maxLength: 12 }), (changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        const file = fresh();
        fs.writeFileSync(file, bytes);
        exercise(file);
        fs.rmSync(file);
      }),
      { numRuns: 200, endOnFailure: true },
    );
  }, 120_000);

  it.each([0, 1, 2, 5])('whose pages point at page %i of theirs ends', (target) => {
    const file = makeCatalog(fresh(), recipes['small']);
    const bytes = fs.readFileSync(file);
    let inner = 0;
    for (let at = 512; at < bytes.length; at += 512) {
      if (bytes[at] !== 2 && bytes[at] !== 5) continue;
      inner += 1;
      const cells = bytes.readUInt16BE(at + 3);
      const own = at / 512 + 1;
      const to = target === 0 ? own : target;
      bytes.writeUInt32BE(to, at + 8);
      for (let i = 0; i < cells; i += 1) bytes.writeUInt32BE(to, at + bytes.readUInt16BE(at + 12 + 2 * i));
    }
    expect(inner).toBeGreaterThan(2);
    fs.writeFileSync(file, bytes);
    const rows = own(file);
    expect(() => rows.byKey(pathKey(Buffer.from('/d/file-7')))).toThrow(expect.objectContaining({ code: 'CATALOG_INVALID' }));
    expect(() => rows.children(pathKey(Buffer.from('/d')), 0, 100)).toThrow(expect.objectContaining({ code: 'CATALOG_INVALID' }));
    rows.close();
  });

  it('whose overflow pages are a loop does not read for ever', () => {
    const file = makeCatalog(fresh(), { rows: [ROOT, { path: '/f', xattr: Buffer.alloc(100_000, 0x77) }] });
    const bytes = fs.readFileSync(file);
    let chained = 0;
    for (let at = 4096; at < bytes.length; at += 4096) {
      if (!bytes.subarray(at + 4, at + 1000).every((byte) => byte === 0x77)) continue;
      chained += 1;
      bytes.writeUInt32BE(at / 4096 + 1, at);
    }
    expect(chained).toBeGreaterThan(10);
    fs.writeFileSync(file, bytes);
    exercise(file);
  });
});

describe('the statements of a catalog', () => {
  it.each(Object.entries(SCHEMA))('%s are understood', (_name, sql) => {
    expect(sql.startsWith('CREATE INDEX') ? parseIndex(sql) : parseTable(sql)).not.toBeNull();
  });

  it('may have a key that is one text', () => {
    expect(parseTable('CREATE TABLE t (a TEXT PRIMARY KEY, b INTEGER)')).toEqual({ columns: [{ name: 'a', type: 'TEXT' }, { name: 'b', type: 'INTEGER' }], primaryKey: ['a'] });
  });

  it.each([
    'CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT PRIMARY KEY)',
    'CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT, PRIMARY KEY (b))',
    'CREATE TABLE t (a TEXT PRIMARY KEY DESC)',
    'CREATE TABLE t (a INTEGER PRIMARY KEY)',
    'CREATE TABLE t (a INTEGER) WITHOUT ROWID',
    'CREATE TABLE t (a INTEGER) STRICT',
    'CREATE TABLE t (a INTEGER DEFAULT 5)',
    'CREATE TABLE t (a TEXT COLLATE NOCASE)',
    'CREATE TABLE t (a REAL)',
    'CREATE TABLE t (a)',
    'CREATE TABLE t (a INTEGER, a TEXT)',
    'CREATE TABLE t (rowid INTEGER)',
    'CREATE TABLE t (a INTEGER, UNIQUE (a))',
    'CREATE TABLE t (a INTEGER, PRIMARY KEY (a DESC))',
    'CREATE TABLE t (a INTEGER AS (5))',
    'CREATE TABLE t (a INTEGER /* b */)',
    "CREATE TABLE t ('a' INTEGER)",
    'CREATE TABLE t AS SELECT 1',
    'CREATE TABLE t (a INTEGER',
    'CREATE TABLE t',
    '',
  ])('%j is left to SQLite', (sql) => expect(parseTable(sql)).toBeNull());

  it.each([
    'CREATE INDEX i ON t (a DESC)',
    'CREATE INDEX i ON t (a COLLATE NOCASE)',
    'CREATE INDEX i ON t (a + 1)',
    'CREATE INDEX i ON t (a) WHERE a > 5',
    'CREATE INDEX i ON t ()',
    'CREATE INDEX i ON t',
  ])('%j is left to SQLite', (sql) => expect(parseIndex(sql)).toBeNull());
});

describeWithFixtures('catalogs of the real tools, read by ourselves', (dir) => {
  it.each(['golden.cvmfs.test', 'golden-plain.cvmfs.test', 'golden-shake128.cvmfs.test', 'images.golden.test'])('of %s hold what SQLite finds in them', (fqrn) => {
    const data = path.join(dir, fqrn, 'data');
    const stored = fs.readdirSync(data).flatMap((prefix) => fs.readdirSync(path.join(data, prefix)).filter((name) => name.endsWith('C')).map((name) => path.join(data, prefix, name)));
    expect(stored.length).toBeGreaterThan(8);
    for (const object of stored) {
      const file = fresh();
      fs.writeFileSync(file, zlib.inflateSync(fs.readFileSync(object)));
      compare(file, 100, new PagePool(100_000));
      fs.rmSync(file);
    }
  }, 60_000);
});
