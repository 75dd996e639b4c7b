import * as fs from 'node:fs';
import Database from 'better-sqlite3';
import { MIB, TestCaches, charged, failure, filesIn, insert, randomSample, readBack, sample } from './support';

let caches: TestCaches;
beforeEach(() => (caches = new TestCaches()));
afterEach(() => caches.end());

const zlibbed = sample('an object that was compressed');
const plain = sample('an object that was not', { compression: 'none' });
const large = randomSample(300_000);

async function filled(): ReturnType<TestCaches['open']> {
  const cache = await caches.open();
  for (const object of [zlibbed, plain, large]) await insert(cache, object);
  return cache;
}

describe('a damaged index', () => {
  it.each([
    ['bytes of something else', (file: string) => fs.writeFileSync(file, 'this is no database at all, '.repeat(1000))],
    ['zeros', (file: string) => fs.writeFileSync(file, Buffer.alloc(100_000))],
    ['another database', (file: string) => {
      fs.rmSync(file);
      const db = new Database(file);
      db.exec('CREATE TABLE x (y); PRAGMA user_version = 1');
      db.close();
    }],
    ['cut in the middle', (file: string) => fs.truncateSync(file, 5000)],
  ])('is set aside, and nothing that nobody can vouch for is served: %s', async (_name, damage) => {
    const before = await filled();
    const file = `${before.dir}/index.db`;
    await before.close();
    damage(file);
    const after = await caches.open();
    expect(after.generation).not.toBe(before.generation);
    expect(fs.existsSync(`${file}.damaged`)).toBe(true);
    expect(readBack(after, zlibbed.id)).toBeNull();
    expect(readBack(after, large.id)).toBeNull();
    expect(readBack(after, plain.id)).toEqual(plain.plain);
    expect(after.usage()).toMatchObject({ objects: 1, bytes: charged(plain) });
    await insert(after, zlibbed);
    expect(readBack(after, zlibbed.id)).toEqual(zlibbed.plain);
    expect(await after.check({ repair: false })).toMatchObject({ sound: true });
  });

  it('that is missing is made anew, and a damaged uncompressed object is not adopted', async () => {
    const before = await filled();
    await before.close();
    for (const name of fs.readdirSync(before.dir)) if (name.startsWith('index.db')) fs.rmSync(`${before.dir}/${name}`);
    fs.writeFileSync(before.file(plain.id), 'other bytes');
    const after = await caches.open();
    expect(filesIn(after).objects).toEqual([]);
    expect(after.usage()).toMatchObject({ objects: 0, bytes: 0 });
  });

  it('found while in use fails the call, is set aside, and the next opening goes on', async () => {
    const first = await filled();
    await first.close();
    // Every page but the first, behind the back of a process that has none of them in memory.
    const cache = await caches.open();
    const fd = fs.openSync(`${cache.dir}/index.db`, 'r+');
    fs.writeSync(fd, Buffer.alloc(fs.fstatSync(fd).size - 4096, 0x55), 0, undefined, 4096);
    fs.closeSync(fd);
    await failure(insert(cache, sample('more')), 'STATE_DAMAGED');
    expect(fs.existsSync(`${cache.dir}/index.db.damaged`)).toBe(true);
    const after = await caches.open();
    await insert(after, sample('more'));
    expect(readBack(after, sample('more').id)).toEqual(Buffer.from('more'));
  });

  it('replaced under a process is told to it, and it removes nothing of the new one', async () => {
    const old = await filled();
    fs.renameSync(`${old.dir}/index.db`, `${old.dir}/elsewhere`);
    fs.rmSync(`${old.dir}/index.db-wal`, { force: true });
    fs.rmSync(`${old.dir}/index.db-shm`, { force: true });
    const fresh = await caches.open();
    const object = sample('stored by the new one');
    await insert(fresh, object);
    expect(readBack(old, object.id)).toBe('unverified');
    await failure(old.verify(object.id), 'STATE_DAMAGED');
    await failure(insert(old, sample('more')), 'STATE_DAMAGED');
    await old.close();
    expect(readBack(fresh, object.id)).toEqual(object.plain);
    await insert(fresh, sample('more'));
    expect(await fresh.check({ repair: false })).toMatchObject({ sound: true });
  });

  it('of a later version is refused and left alone', async () => {
    const cache = await caches.open();
    await cache.close();
    const db = new Database(`${cache.dir}/index.db`);
    db.pragma('user_version = 99');
    db.close();
    await failure(caches.open(), 'FAILED_PRECONDITION');
    expect(fs.existsSync(`${cache.dir}/index.db.damaged`)).toBe(false);
  });
});

describe('check', () => {
  it('finds nothing in a sound cache', async () => {
    const cache = await filled();
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true, objects: 3, bytes: zlibbed.plain.length + plain.plain.length + large.plain.length });
  });

  it('finds and repairs everything that can be wrong', async () => {
    const cache = await filled();
    const gone = sample('its file is gone');
    const unproven = sample('its record is gone');
    const proven = sample('its record is gone, and its name proves it', { compression: 'none' });
    for (const object of [gone, unproven, proven]) await insert(cache, object);
    const db = new Database(`${cache.dir}/index.db`);
    for (const object of [unproven, proven]) db.prepare('DELETE FROM objects WHERE name = ?').run(cache.file(object.id).split('/').pop());
    db.close();
    fs.rmSync(cache.file(gone.id));
    const { mtime } = fs.statSync(cache.file(large.id));
    const bytes = fs.readFileSync(cache.file(large.id));
    bytes[1000]! ^= 1;
    fs.writeFileSync(cache.file(large.id), bytes);
    fs.utimesSync(cache.file(large.id), mtime, mtime);
    fs.writeFileSync(`${cache.dir}/objects/stranger`, '');
    fs.writeFileSync(`${cache.dir}/objects/${large.id.hash.digest.toString('hex').slice(0, 2)}/stranger`, '');
    fs.writeFileSync(`${cache.dir}/txn/4194305-1-0-1`, '');

    const found = await cache.check({ repair: false });
    expect(found).toMatchObject({
      sound: false,
      damaged: { count: 1 },
      unrecorded: { count: 2 },
      missing: { count: 1 },
      staleTempFiles: { count: 1, names: ['4194305-1-0-1'] },
      strangers: { count: 2 },
    });
    expect(found.totals.recorded).not.toEqual(found.totals.actual);
    expect(await cache.check({ repair: false })).toEqual(found);
    expect(await cache.check({ repair: true })).toMatchObject({ sound: true, repaired: true, damaged: { count: 1 } });
    const repaired = await cache.check({ repair: false });
    expect(repaired).toMatchObject({ sound: true, objects: 3 });
    expect(repaired.totals.actual).toEqual({ objects: 3, bytes: charged(zlibbed, plain, proven) });
    expect(readBack(cache, proven.id)).toEqual(proven.plain);
    for (const object of [large, unproven, gone]) expect(readBack(cache, object.id)).toBeNull();
  });

  it('repairs beside a server that stores objects, and nothing is lost', async () => {
    const cache = await caches.open();
    const checker = await caches.open();
    const objects = Array.from({ length: 200 }, (_, at) => (at % 10 === 0 ? randomSample(100_000) : sample(`object ${at}`)));
    let storing = true;
    const stored = (async () => {
      for (const object of objects) await insert(cache, object);
    })().finally(() => (storing = false));
    while (storing) await checker.check({ repair: true });
    await stored;
    for (const object of objects) expect((readBack(cache, object.id) as Buffer).equals(object.plain)).toBe(true);
    expect(await checker.check({ repair: false })).toMatchObject({ sound: true, objects: 200 });
  });
});

describe('wipe', () => {
  it('leaves what is pinned and what unreachable rootfses use, and with force nothing', async () => {
    const cache = await filled();
    const orphan = sample('without a record');
    await insert(cache, orphan);
    const db = new Database(`${cache.dir}/index.db`);
    db.prepare('DELETE FROM objects WHERE name = ?').run(cache.file(orphan.id).split('/').pop());
    db.close();
    await cache.pin('view:a', [plain.id]);
    await cache.use('mount:away', [large.id]);
    await cache.setReachable('mount:away', false);
    const { freedBytes } = await cache.wipe();
    expect(freedBytes).toBe(charged(zlibbed));
    expect([zlibbed, plain, large, orphan].map((object) => cache.has(object.id, null))).toEqual([false, true, true, false]);
    await cache.wipe({ force: true });
    expect(filesIn(cache)).toEqual({ objects: [], temps: [] });
    await insert(cache, zlibbed);
    expect(readBack(cache, zlibbed.id)).toEqual(zlibbed.plain);
  });
});

describe('bytes that can not be read in memory', () => {
  it('read is bounded', async () => {
    const cache = await caches.open();
    const object = randomSample(2 * MIB);
    await insert(cache, object);
    await failure(cache.read(object.id, { maxBytes: MIB }), 'OBJECT_TOO_BIG');
    expect(await cache.read(sample('absent').id)).toBeNull();
  });
});
