import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { formatHash } from '../../../src/cvmfs/hash';
import { History } from '../../../src/cvmfs/history';
import { inflateBounded } from '../../../src/cvmfs/inflate';
import { parseManifest } from '../../../src/cvmfs/manifest';
import { objectPath } from '../../../src/cvmfs/object';
import { describeWithFixtures } from '../../support/fixtures';

let scratch: string;
beforeAll(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'history-'));
});
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

const TAGS = "CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER, description TEXT, size INTEGER, branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name))";
let made = 0;
function make(fill: (db: Sqlite.Database) => void, tags = TAGS, schema = '1.0'): string {
  const file = path.join(scratch, `h${(made += 1)}`);
  const db = new Sqlite(file);
  db.pragma('synchronous = off');
  db.exec(`CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key)); ${tags}`);
  db.prepare("INSERT INTO properties VALUES ('schema', ?), ('fqrn', 'sw.example.org')").run(schema);
  fill(db);
  db.close();
  return file;
}
const insert = (db: Sqlite.Database, name: string | null, revision: unknown, timestamp: number, branch = '', hash = 'a'.repeat(40)): void =>
  void db.prepare('INSERT INTO tags VALUES (?, ?, ?, ?, 0, ?, 100, ?)').run(name, hash, revision, timestamp, 'text', branch);

describe('a history', () => {
  it('finds tags by name and by date, newest first', () => {
    const history = History.read(
      make((db) => {
        insert(db, 'one', 1, 100);
        insert(db, 'two', 2, 200);
        insert(db, 'again', 4, 150);
        insert(db, 'side', 9, 120, 'branch');
        insert(db, 'twin', 3, 200);
      }),
    );
    expect(history.fqrn).toBe('sw.example.org');
    expect(history.tags.map((tag) => tag.name)).toEqual(['twin', 'two', 'again', 'side', 'one']);
    expect(history.byName('two')).toMatchObject({ revision: 2, timestamp: 200, rootSize: 100, description: 'text', branch: '' });
    expect(history.byName('three')).toBeUndefined();
    expect([99, 100, 149, 150, 1000].map((time) => history.byDate(time)?.name)).toEqual([undefined, 'one', 'one', 'again', 'again']);
  });

  it('reads tables of old revisions', () => {
    const file = make((db) => void db.prepare('INSERT INTO tags VALUES (?, ?, ?, ?)').run('one', 'a'.repeat(40), 1, 100), 'CREATE TABLE tags (name TEXT PRIMARY KEY, hash TEXT, revision INTEGER, timestamp INTEGER)');
    expect(History.read(file).tags).toMatchObject([{ name: 'one', description: '', rootSize: 0, branch: '' }]);
  });

  const nothing = (): void => undefined;
  it.each<[string, () => string]>([
    ['another schema', () => make(nothing, TAGS, '2.0')],
    ['a view in place of tags', () => make(nothing, "CREATE VIEW tags AS SELECT 'x' AS name, 'y' AS hash, 1 AS revision, 1 AS timestamp")],
    ['no tags', () => make(nothing, '')],
    ['a computed column', () => make(nothing, "CREATE TABLE tags (name TEXT, hash TEXT AS ('a' || name), revision INTEGER, timestamp INTEGER)")],
    ['a hash that is none', () => make((db) => insert(db, 'x', 1, 1, '', 'nonsense'))],
    ['a tag without a name', () => make((db) => insert(db, null, 1, 1))],
    ['a revision that is text', () => make((db) => insert(db, 'x', 'many', 1))],
    ['a negative revision', () => make((db) => insert(db, 'x', -1, 1))],
  ])('with %s is refused', (_what, file) => {
    expect(() => History.read(file())).toThrow(expect.objectContaining({ code: 'HISTORY_INVALID' }));
  });
});

describeWithFixtures('the histories of the real tools', (dir) => {
  it.each<[string, readonly string[]]>([
    ['golden.cvmfs.test', ['rev-1-initial', 'rev-2', 'rev-3_types', 'rev-4-external']],
    ['golden-plain.cvmfs.test', []],
    ['golden-shake128.cvmfs.test', []],
    ['images.golden.test', []],
  ])('of %s have their tags, and the newest is the manifest’s', (fqrn, names) => {
    const manifest = parseManifest(fs.readFileSync(path.join(dir, fqrn, '.cvmfspublished')));
    const stored = fs.readFileSync(path.join(dir, fqrn, objectPath({ hash: manifest.history!, kind: 'history', compression: 'zlib' })));
    const file = path.join(scratch, fqrn);
    fs.writeFileSync(file, inflateBounded(stored, 1 << 24));
    const history = History.read(file);
    expect(history.fqrn).toBe(fqrn);
    expect(history.tags.map((tag) => tag.name)).toEqual(expect.arrayContaining([...names]));
    expect(formatHash(history.byName('trunk')!.rootHash)).toBe(formatHash(manifest.rootHash));
    expect(history.byDate(manifest.publishedAt)?.revision).toBe(manifest.revision);
    for (const tag of history.tags) {
      expect(fs.existsSync(path.join(dir, fqrn, objectPath({ hash: tag.rootHash, kind: 'catalog', compression: 'zlib' })))).toBe(true);
    }
  });
});
