import * as fs from 'node:fs';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { formatHash, hashBytes, parseHash } from '../../../src/cvmfs/hash';
import { sealLetter } from '../../../src/cvmfs/letter';
import { serializeManifest } from '../../../src/cvmfs/manifest';
import { objectPath } from '../../../src/cvmfs/object';
import { signManifestHash } from '../../../src/cvmfs/signature';
import { deflateBytes } from '../../../src/publish/deflater';
import { readSigningKeys } from '../../../src/publish/keys';
import { checkRepository } from '../../../src/publish/repo-check';
import type { CheckReport } from '../../../src/publish/repo-check';
import { describeWithFixtures } from '../../support/fixtures';
import { Fixture, FQRN } from './repository-fixture';

jest.setTimeout(60_000);

describeWithFixtures('repositories of the stock tools', (dir) => {
  it.each(['golden.cvmfs.test', 'golden-plain.cvmfs.test', 'golden-shake128.cvmfs.test', 'images.golden.test'])('have no fault: %s', async (fqrn) => {
    const storage = path.join(dir, fqrn);
    const masterKeys = [fs.readFileSync(path.join(storage, `${fqrn}.pub`), 'utf8')];
    const report = await checkRepository({ fqrn, storage, masterKeys }, { now: () => new Date('2026-12-01') });
    expect(report.findings).toEqual([]);
    expect(report.catalogs).toBeGreaterThan(5);
    expect(report.objects).toBeGreaterThan(300);
  });
});

describe('a damaged repository', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await new Fixture().create();
    fixture.files({ 'a/.cvmfscatalog': '', 'a/file': 'one', 'a/big': Buffer.alloc(5000, 1), b: 'two', c: 'three', l1: 'linked' });
    fs.linkSync(path.join(fixture.source, 'l1'), path.join(fixture.source, 'l2'));
    await fixture.publish({ chunks: { min: 1024, avg: 2048, max: 2048 }, tag: 'v1' });
  });
  afterEach(() => fixture.remove());

  const objectOf = (name: string): string =>
    path.join(
      fixture.storage,
      objectPath({ hash: { algorithm: 'sha1', digest: fixture.tree().get(name)!.hash! }, kind: 'file', compression: 'zlib' }),
    );

  function faults(report: CheckReport): string[] {
    expect(report.faults).toBe(report.findings.filter((finding) => finding.severity === 'fault').length);
    return report.findings.map((finding) => `${finding.where}: ${finding.what}`);
  }

  /** Changes the root catalog (or the one at `at`) behind the publisher's back, with all hashes and signatures right. */
  async function forge(sql: string, at = ''): Promise<void> {
    const { rootHash } = fixture.manifest();
    const store = (file: string): ReturnType<typeof hashBytes> => {
      const bytes = deflateBytes(fs.readFileSync(file));
      const hash = hashBytes('sha1', bytes);
      const name = path.join(fixture.storage, objectPath({ hash, kind: 'catalog', compression: 'zlib' }));
      fs.mkdirSync(path.dirname(name), { recursive: true });
      fs.writeFileSync(name, bytes);
      return hash;
    };
    const run = (hash: typeof rootHash, statement: string): { hash: typeof rootHash; size: number } => {
      const file = `${fixture.database({ hash, kind: 'catalog', compression: 'zlib' })}.forged`;
      fs.writeFileSync(file, fixture.object({ hash, kind: 'catalog', compression: 'zlib' }));
      const db = new Sqlite(file);
      db.pragma('foreign_keys = OFF');
      db.exec(statement);
      db.close();
      return { hash: store(file), size: fs.statSync(file).size };
    };
    let forged = run(rootHash, at === '' ? sql : 'SELECT 1');
    if (at !== '') {
      const child = run(parseHash(fixture.tree().get(at)!.catalogHash), sql);
      forged = run(rootHash, `UPDATE nested_catalogs SET sha1 = '${formatHash(child.hash)}', size = ${child.size} WHERE path = '${at}'`);
    }
    const keys = readSigningKeys(fixture.keys, FQRN);
    const text = serializeManifest({ ...fixture.manifest(), rootHash: forged.hash, rootSize: forged.size });
    fs.writeFileSync(
      path.join(fixture.storage, '.cvmfspublished'),
      sealLetter(text, 'sha1', (hash) => signManifestHash(hash, keys.key)),
    );
  }

  it('is told all its missing, altered and truncated objects at once', async () => {
    const [b, c, file] = ['/b', '/c', '/a/file'].map(objectOf) as [string, string, string];
    fs.rmSync(b);
    fs.truncateSync(c, 3);
    fs.writeFileSync(file, deflateBytes(Buffer.from('two')));
    const found = faults(await fixture.check());
    expect(found).toHaveLength(3);
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/\/b: .*missing/),
        expect.stringMatching(/\/c: .*has the hash/),
        expect.stringMatching(/\/a\/file: .*has the hash/),
      ]),
    );
  });

  it('is told what is gone of its catalogs, and the rest is still looked at', async () => {
    const nested = fixture.tree().get('/a')!.catalogHash;
    const b = objectOf('/b');
    fs.rmSync(path.join(fixture.storage, objectPath({ hash: parseHash(nested), kind: 'catalog', compression: 'zlib' })));
    fs.rmSync(b);
    const found = faults(await fixture.check());
    expect(found).toEqual(expect.arrayContaining([expect.stringContaining(`catalog ${nested} at /a`), expect.stringContaining('/b: ')]));
    expect(found).toHaveLength(2);
  });

  it('can leave the contents out', async () => {
    fs.truncateSync(objectOf('/c'), 3);
    const masterKeys = [fs.readFileSync(path.join(fixture.keys, `${FQRN}.pub`), 'utf8')];
    expect((await checkRepository({ fqrn: FQRN, storage: fixture.storage, masterKeys, content: false }, fixture.world)).findings).toEqual([]);
  });

  it.each([
    ['a wrong counter', `UPDATE statistics SET value = value + 1 WHERE counter = 'self_regular'`, '', /counter self_regular is/],
    ['a wrong sum', `UPDATE statistics SET value = value + 1 WHERE counter = 'subtree_dir'`, '', /counter subtree_dir is/],
    ['a key that is not its path', `UPDATE catalog SET name = 'bb' WHERE name = 'b'`, '', /\/bb: its key is not/],
    ['a row without a parent', `UPDATE catalog SET parent_1 = 12345 WHERE name = 'b'`, '', /not reachable/],
    [
      'a mount point without a reference',
      `DELETE FROM nested_catalogs; UPDATE statistics SET value = 0 WHERE counter = 'self_nested' OR counter LIKE 'subtree%'`,
      '',
      /\/a: it is a mount point without/,
    ],
    ['a reference without a mount point', `UPDATE catalog SET flags = 1 WHERE name = 'a'`, '', /no mount point/],
    ['mount point rows that differ', `UPDATE catalog SET mtime = mtime + 1 WHERE name = 'a'`, '', /\/a: the rows of the directory/],
    ['a gap between chunks', `DELETE FROM chunks WHERE offset > 0 AND offset < 4000`, '/a', /chunks of row/],
    ['a hard link that is lost', `DELETE FROM catalog WHERE name = 'l2'`, '', /group of hard links/],
    ['hard links that differ', `UPDATE catalog SET mode = mode - 4 WHERE name = 'l2'`, '', /are not one file/],
    ['a file without an object', `UPDATE catalog SET hash = NULL WHERE name = 'b'`, '', /\/b: it is a file without an object/],
    ['a size that is not the content', `UPDATE catalog SET size = 4 WHERE name = 'b'`, '', /\/b: .*has 3 bytes, not 4/],
    ['a size that is less than the content', `UPDATE catalog SET size = 2 WHERE name = 'b'`, '', /\/b: /],
    ['the wrong prefix', `UPDATE properties SET value = '/z' WHERE key = 'root_prefix'`, '/a', /root_prefix|no row for its own root/],
    ['the wrong revision', `UPDATE properties SET value = '7' WHERE key = 'revision'`, '', /says revision 7/],
    ['a name with a slash', `UPDATE catalog SET name = 'x/y' WHERE name = 'b'`, '', /not reachable or not fit/],
    ['a directory that is its own parent', `UPDATE catalog SET parent_1 = md5path_1, parent_2 = md5path_2 WHERE name = 'b'`, '', /not reachable/],
    ['a missing marker', `DELETE FROM catalog WHERE name = '.cvmfscatalog'`, '/a', /has no .cvmfscatalog/],
    ['views for tables', `ALTER TABLE catalog RENAME TO c2; CREATE VIEW catalog AS SELECT * FROM c2`, '', /hostile/],
  ])('with %s is found out', async (_name, sql, at, message) => {
    await forge(sql, at);
    const found = faults(await fixture.check());
    expect(found).toEqual(expect.arrayContaining([expect.stringMatching(message)]));
  });

  it('that contains itself ends', async () => {
    // A cycle of hashes cannot be made; a catalog that is mounted in itself at another path has the wrong prefix.
    const nested = fixture.tree().get('/a')!.catalogHash;
    await forge(`INSERT INTO nested_catalogs VALUES ('/a/sub', '${nested}', 0)`, '/a');
    expect(faults(await fixture.check()).length).toBeGreaterThan(0);
  });

  it('is told that its signature, whitelist or reflog is wrong', async () => {
    const file = (name: string): string => path.join(fixture.storage, name);
    const manifest = fs.readFileSync(file('.cvmfspublished'));
    const flipped = Buffer.from(manifest);
    flipped[flipped.length - 1]! ^= 1;
    fs.writeFileSync(file('.cvmfspublished'), flipped);
    expect(faults(await fixture.check())).toEqual([expect.stringMatching(/trust chain: manifest .*signature/)]);
    fs.writeFileSync(file('.cvmfspublished'), manifest);

    const whitelist = fs.readFileSync(file('.cvmfswhitelist'));
    fs.rmSync(file('.cvmfswhitelist'));
    expect(faults(await fixture.check())).toEqual([expect.stringMatching(/whitelist is missing/)]);
    fs.writeFileSync(file('.cvmfswhitelist'), whitelist);

    const reflog = fs.readFileSync(file('.cvmfsreflog'));
    fs.writeFileSync(file('.cvmfsreflog'), 'nothing');
    expect(faults(await fixture.check())).toEqual([expect.stringMatching(/reflog .*damaged/)]);
    fs.writeFileSync(file('.cvmfsreflog'), reflog);
    const db = new Sqlite(file('.cvmfsreflog'));
    db.exec('DELETE FROM refs WHERE type = 0');
    db.close();
    expect(faults(await fixture.check())).toEqual(expect.arrayContaining([expect.stringContaining('does not know the root catalog')]));
  });

  it('that is none is an error', async () => {
    await expect(checkRepository({ fqrn: FQRN, storage: '/nonexistent', masterKeys: [] }, fixture.world)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});
