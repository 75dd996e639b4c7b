import * as fs from 'node:fs';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { parseWhitelist } from '../../../src/cvmfs/whitelist';
import { createRepository, resignWhitelist } from '../../../src/publish/repo-create';
import { describeWithFixtures } from '../../support/fixtures';
import { Fixture, FQRN } from './repository-fixture';

jest.setTimeout(30_000);

let fixture: Fixture;
beforeEach(async () => {
  fixture = await new Fixture().create();
});
afterEach(() => fixture.remove());

const options = () => ({ fqrn: FQRN, storage: fixture.storage, keys: fixture.keys });

it('makes keys that only their owner reads, and an empty first revision', async () => {
  expect(fs.readdirSync(fixture.keys).sort()).toEqual(['crt', 'key', 'masterkey', 'pub'].map((kind) => `${FQRN}.${kind}`));
  const mode = (file: string): number => fs.statSync(file).mode & 0o777;
  expect(mode(fixture.keys)).toBe(0o700);
  expect(mode(path.join(fixture.keys, `${FQRN}.masterkey`))).toBe(0o400);
  expect(mode(path.join(fixture.keys, `${FQRN}.key`))).toBe(0o400);
  expect(fs.readFileSync(path.join(fixture.keys, `${FQRN}.pub`), 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY-----/);
  expect(fixture.manifest()).toMatchObject({ revision: 1, ttlSeconds: 240, garbageCollectable: true, fqrn: FQRN });
  expect(fixture.manifest().history).toBeUndefined();
  expect([...fixture.tree().keys()]).toEqual(['']);
  expect(fixture.tree().get('')).toMatchObject({ mode: 0o040755, size: 4096, linkCount: 2, flags: 1 });
  expect((await fixture.check()).findings).toEqual([]);
});

it.each([0x00, 0x7f, 0x80, 0xff])('makes certificates that OpenSSL reads, whatever the random numbers are (%d)', async (byte) => {
  const elsewhere = { storage: path.join(fixture.dir, 's'), keys: path.join(fixture.dir, 'k') };
  await createRepository({ ...elsewhere, fqrn: FQRN }, { ...fixture.world, randomBytes: (size) => Buffer.alloc(size, byte) });
});

it('overwrites nothing', async () => {
  await expect(createRepository(options(), fixture.world)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await expect(createRepository({ ...options(), storage: path.join(fixture.dir, 'other') }, fixture.world)).rejects.toMatchObject({
    code: 'ALREADY_EXISTS',
    message: expect.stringContaining('key'),
  });
  expect(fs.existsSync(path.join(fixture.dir, 'other'))).toBe(false);
});

it('refuses names and times that make no sense', async () => {
  const elsewhere = { storage: path.join(fixture.dir, 's'), keys: path.join(fixture.dir, 'k') };
  await expect(createRepository({ ...elsewhere, fqrn: '../x' }, fixture.world)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(createRepository({ ...elsewhere, fqrn: FQRN, whitelistDays: 0 }, fixture.world)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(createRepository({ ...elsewhere, fqrn: FQRN, ttlSeconds: -1 }, fixture.world)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(fs.existsSync(elsewhere.keys)).toBe(false);
});

it('signs the whitelist again', async () => {
  const read = (): ReturnType<typeof parseWhitelist> => parseWhitelist(fs.readFileSync(path.join(fixture.storage, '.cvmfswhitelist')));
  const before = read();
  fixture.ahead = 35 * 86_400;
  expect((await fixture.check()).findings).toEqual([expect.objectContaining({ severity: 'fault', what: expect.stringContaining('expired') })]);
  const until = await resignWhitelist({ ...options(), whitelistDays: 60 }, fixture.world);
  expect(read().fingerprints).toEqual(before.fingerprints);
  expect(Math.round((until.getTime() - fixture.world.now().getTime()) / 86_400_000)).toBe(60);
  expect((await fixture.check()).findings).toEqual([]);
});

describeWithFixtures('beside what the stock tools make', (dir) => {
  const schema = (file: string): unknown => {
    const db = new Sqlite(file, { readonly: true });
    const rows = db.prepare('SELECT type, name, sql FROM sqlite_master ORDER BY rowid').all();
    db.close();
    return rows;
  };

  it('the schemas of catalog, history and reflog are the same', async () => {
    fixture.files({ file: 'x' });
    await fixture.publish();
    const stock = new Fixture();
    try {
      Object.assign(stock, { storage: path.join(dir, 'golden.cvmfs.test') });
      for (const [kind, field] of [
        ['catalog', 'rootHash'],
        ['history', 'history'],
      ] as const) {
        const [ours, theirs] = [fixture, stock].map((one) => schema(one.database({ hash: one.manifest()[field]!, kind, compression: 'zlib' })));
        expect(ours).toEqual(theirs);
      }
      expect(schema(path.join(fixture.storage, '.cvmfsreflog'))).toEqual(schema(path.join(stock.storage, '.cvmfsreflog')));
      // The same letters in the same order in the manifest.
      const letters = (one: Fixture): string =>
        fs
          .readFileSync(path.join(one.storage, '.cvmfspublished'), 'latin1')
          .split('--\n')[0]!
          .replace(/^(.).*\n/gm, '$1');
      expect(letters(fixture)).toBe(letters(stock));
    } finally {
      stock.remove();
    }
  });
});
