import * as fs from 'node:fs';
import { ObjectReader } from '../../../src/cache/object-reader';
import { objectName } from '../../../src/cache/object-name';
import { MIB, TestCaches, body, charged, failure, filesIn, insert, randomSample, sample } from './support';
import type { Sample } from './support';

let caches: TestCaches;
beforeEach(() => (caches = new TestCaches()));
afterEach(() => caches.end());

/** Ten objects of four blocks each, which fill a cache of `LIMIT` to the last byte. */
const ten = Array.from({ length: 10 }, () => randomSample(16_384));
const LIMIT = charged(...ten);

async function full(): ReturnType<TestCaches['open']> {
  const cache = await caches.open({ limitBytes: LIMIT });
  for (const object of ten) await insert(cache, object);
  expect(cache.usage()).toMatchObject({ objects: 10, bytes: LIMIT });
  return cache;
}

describe('the limit', () => {
  it('holds, whatever comes, and the newest stays', async () => {
    const cache = await caches.open({ limitBytes: LIMIT });
    for (let at = 0; at < 60; at++) {
      const object = randomSample(at % 3 === 0 ? 100_000 : 5000);
      await insert(cache, object, at % 2 === 0 ? {} : { plainSize: null });
      expect(cache.has(object.id, null)).toBe(true);
      expect(cache.usage().bytes).toBeLessThanOrEqual(LIMIT);
    }
    const onDisk = filesIn(cache).objects.reduce((sum, name) => sum + fs.statSync(`${cache.dir}/objects/${name.slice(0, 2)}/${name}`).blocks * 512, 0);
    expect(onDisk).toBeLessThanOrEqual(LIMIT);
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true });
  });

  it('holds for many at once', async () => {
    const cache = await caches.open({ limitBytes: LIMIT });
    await Promise.all(Array.from({ length: 50 }, (_, at) => insert(cache, randomSample(at % 4 === 0 ? 30_000 : 3000))));
    expect(cache.usage().bytes).toBeLessThanOrEqual(LIMIT);
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true });
  });

  it('evicts the least recently used first, down to nine tenths', async () => {
    const cache = await full();
    cache.touch([ten[0]!, ten[1]!].map((object) => objectName(object.id)));
    await insert(cache, randomSample(10));
    expect(ten.map((object) => cache.has(object.id, null))).toEqual([true, true, false, false, true, true, true, true, true, true]);
  });

  it('learns from readers what was used', async () => {
    const cache = await full();
    const reader = new ObjectReader(cache.dir, cache.generation);
    expect(typeof reader.open(ten[0]!.id, null)).toBe('number');
    cache.touch(reader.drainTouched());
    await insert(cache, randomSample(10));
    expect(cache.has(ten[0]!.id, null)).toBe(true);
    expect(cache.has(ten[1]!.id, null)).toBe(false);
    reader.close();
  });

  it('never takes what is pinned, and takes what living rootfses use last and no more of it than it must', async () => {
    const cache = await full();
    await cache.pin('view:a', [ten[0]!.id]);
    await cache.use('mount:1', ten.slice(1, 8).map((object) => object.id));
    await insert(cache, randomSample(16_384));
    // The two that nobody uses.
    expect(ten.map((object) => cache.has(object.id, null))).toEqual([true, true, true, true, true, true, true, true, false, false]);
    await insert(cache, randomSample(16_384));
    await insert(cache, randomSample(16_384));
    await insert(cache, randomSample(16_384));
    expect(ten.filter((object) => cache.has(object.id, null)).length).toBe(8);
    const large = randomSample(40_000);
    await insert(cache, large);
    expect(cache.has(ten[0]!.id, null)).toBe(true);
    await insert(cache, randomSample(100_000));
    expect(cache.has(ten[0]!.id, null)).toBe(true);
    expect(cache.has(ten[1]!.id, null)).toBe(false);
    expect(cache.has(ten[7]!.id, null)).toBe(true);
  });

  it('takes nothing from rootfses whose server is away, and goes on when it is back', async () => {
    const cache = await full();
    await cache.use('mount:away', ten.slice(0, 9).map((object) => object.id));
    await cache.use('mount:here', ten.map((object) => object.id));
    await cache.setReachable('mount:away', false);
    const two = randomSample(30_000);
    const caught = await failure(insert(cache, two), 'NO_SPACE');
    expect(caught.message).toContain('in the cache');
    expect(ten.slice(0, 9).every((object) => cache.has(object.id, null))).toBe(true);
    await cache.setReachable('mount:away', true);
    await insert(cache, two);
    expect(cache.has(two.id, null)).toBe(true);
  });

  it('forgets owners with their uses and pins', async () => {
    const cache = await full();
    await cache.use('mount:1', ten.slice(0, 5).map((object) => object.id));
    await cache.pin('mount:1', ten.slice(0, 5).map((object) => object.id));
    await cache.pin('image:x', [ten[9]!.id]);
    expect(cache.usage()).toMatchObject({ pinnedBytes: charged(...ten.slice(0, 5), ten[9]!), owners: [{ owner: 'image:x', pins: 1, uses: 0 }, { owner: 'mount:1', reachable: true, pins: 5, uses: 5 }] });
    await cache.dropOwner('mount:1');
    await cache.unpin('image:x');
    expect(cache.usage()).toMatchObject({ pinnedBytes: 0, owners: [] });
    await insert(cache, randomSample(10));
    expect(cache.has(ten[0]!.id, null)).toBe(false);
  });

  it('pins what is not here yet', async () => {
    const cache = await caches.open({ limitBytes: LIMIT });
    await cache.pin('view:a', [ten[0]!.id]);
    for (const object of ten) await insert(cache, object);
    for (let at = 0; at < 20; at++) await insert(cache, randomSample(16_384));
    expect(cache.has(ten[0]!.id, null)).toBe(true);
  });

  it('says what to do when pins alone leave no room', async () => {
    const cache = await full();
    await cache.pin('image:big', ten.map((object) => object.id));
    expect(cache.pinnedBytes()).toBe(LIMIT);
    const large = randomSample(100_000);
    const caught = await failure(insert(cache, large), 'NO_SPACE');
    expect(caught.message).toMatch(/pinned.*raise cache\.limit, or unpin images/);
    expect(caught.data).toMatchObject({ pinnedBytes: LIMIT, limitBytes: LIMIT });
    const smaller = await caches.open({ limitBytes: LIMIT / 2 });
    await smaller.pin('image:more', [ten[0]!.id]);
    expect(caches.log.lines.some((line) => line.level === 'warn' && line.message.includes('pinned objects alone pass the limit'))).toBe(true);
  });

  it.each([
    ['small', sample('hello')],
    ['large', randomSample(100_000)],
  ])('serves the reader from memory when there is no room: %s', async (_name, object: Sample) => {
    const cache = await full();
    await cache.pin('image:big', ten.map((pinned) => pinned.id));
    for (const plainSize of [object.plain.length, null]) {
      const inserted = await insert(cache, object, { plainSize, orMemoryMaxBytes: MIB });
      expect(inserted.plainSize).toBe(object.plain.length);
      expect(inserted.memory?.equals(object.plain)).toBe(true);
    }
    expect(cache.has(object.id, null)).toBe(false);
    expect(filesIn(cache).temps).toEqual([]);
    await failure(insert(cache, object, { orMemoryMaxBytes: 4 }), 'NO_SPACE');
    await failure(insert(cache, { ...object, stored: Buffer.concat([object.stored, Buffer.from('x')]) }, { orMemoryMaxBytes: MIB }), 'OBJECT_CORRUPT');
    // What was reserved is given back.
    await cache.unpin('image:big');
    await insert(cache, object);
    expect(cache.has(object.id, null)).toBe(true);
  });

  it('is what the file system can hold, when that is less', async () => {
    const disk = LIMIT * 0.8;
    let used = (): number => 0;
    const cache = await caches.open({ limitBytes: LIMIT }, { freeBytes: () => disk - used() });
    used = () => filesIn(cache).objects.length * charged(ten[0]!);
    for (const object of ten) await insert(cache, object);
    expect(cache.usage()).toMatchObject({ limitBytes: LIMIT, effectiveLimitBytes: disk });
    expect(cache.usage().bytes).toBeLessThanOrEqual(disk);
    expect(cache.has(ten[9]!.id, null)).toBe(true);
  });

  it('is enforced at once when it was lowered', async () => {
    await full();
    const cache = await caches.open({ limitBytes: LIMIT / 2 });
    expect(cache.usage().bytes).toBeLessThanOrEqual(LIMIT / 2);
    expect(cache.has(ten[9]!.id, null)).toBe(true);
  });

  it('an object that the limit can never hold is refused at once, before it is downloaded', async () => {
    const cache = await full();
    const huge = randomSample(8);
    let asked = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for (;;) {
        asked++;
        yield* body(Buffer.alloc(65_536));
      }
    }
    await failure(cache.insert(huge.id, counted(), { plainSize: 50 * MIB, maxPlainBytes: 1 << 30 }), 'OBJECT_CORRUPT');
    await failure(cache.insert({ ...huge.id, compression: 'none' }, counted(), { plainSize: 50 * MIB, maxPlainBytes: 1 << 30 }), 'NO_SPACE');
    expect(asked).toBeLessThan(10);
    expect(ten.every((object) => cache.has(object.id, null))).toBe(true);
  });
});
