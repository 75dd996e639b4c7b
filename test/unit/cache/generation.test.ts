import * as fs from 'node:fs';
import { newGeneration } from '../../../src/cache/generation';
import type { ObjectCache } from '../../../src/cache/object-cache';
import { MIB, TestCaches, insert, randomSample, readBack, sample } from './support';

let caches: TestCaches;
beforeEach(() => (caches = new TestCaches()));
afterEach(() => caches.end());

const objects = [sample('small'), sample('small, uncompressed', { compression: 'none' }), randomSample(MIB)];

/** A host that went down with the cache open, and came up again. */
async function afterCrash(change: (cache: ObjectCache) => void = () => undefined): Promise<{ before: ObjectCache; after: ObjectCache }> {
  const before = await caches.open({}, { bootId: 'boot one' });
  for (const object of objects) await insert(before, object);
  change(before);
  const after = await caches.open({}, { bootId: 'boot two' });
  return { before, after };
}

function flipByte(file: string): void {
  const stat = fs.statSync(file);
  const bytes = fs.readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  fs.writeFileSync(file, bytes);
  fs.utimesSync(file, stat.mtime, stat.mtime);
}

describe('generations', () => {
  it('are never the previous one, and never a time of a clock', () => {
    const numbers = [5, 5, 9];
    expect(newGeneration(5, () => numbers.shift()!)).toBe(9);
    for (let at = 0; at < 100; at++) expect(newGeneration(null)).toBeLessThan(Date.UTC(2005, 0) / 1000);
  });

  it('stay when a process dies and another one opens the cache in the same boot', async () => {
    const before = await caches.open({}, { bootId: 'boot one' });
    await insert(before, objects[0]!);
    const after = await caches.open({}, { bootId: 'boot one' });
    expect(after.generation).toBe(before.generation);
    expect(readBack(after, objects[0]!.id)).toEqual(objects[0]!.plain);
  });

  it('stay over a boot when the cache was closed cleanly', async () => {
    const before = await caches.open({}, { bootId: 'boot one' });
    await insert(before, objects[0]!);
    await before.close();
    const after = await caches.open({}, { bootId: 'boot two' });
    expect(after.generation).toBe(before.generation);
    expect(readBack(after, objects[0]!.id)).toEqual(objects[0]!.plain);
  });

  it('change when one of two processes was still open', async () => {
    const first = await caches.open({}, { bootId: 'boot one' });
    await caches.open({}, { bootId: 'boot one' });
    await first.close();
    expect((await caches.open({}, { bootId: 'boot two' })).generation).not.toBe(first.generation);
  });

  it('change once per crash, not once per process', async () => {
    const { after } = await afterCrash();
    expect((await caches.open({}, { bootId: 'boot two' })).generation).toBe(after.generation);
  });

  it('after a crash nothing is served before it was verified, and sound objects are then', async () => {
    const { before, after } = await afterCrash();
    expect(after.generation).not.toBe(before.generation);
    for (const object of objects) {
      expect(readBack(after, object.id, object.plain.length)).toBe('unverified');
      expect(after.has(object.id, object.plain.length)).toBe(false);
      expect(await Promise.all([after.verify(object.id), after.verify(object.id)])).toEqual([true, true]);
      expect((readBack(after, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    }
  });

  it('ensure and read verify by themselves', async () => {
    const { after } = await afterCrash();
    expect(await after.ensure(objects[0]!.id, objects[0]!.plain.length)).toBe(true);
    expect(await after.read(objects[1]!.id)).toEqual(objects[1]!.plain);
    expect(await after.ensure(sample('absent').id, null)).toBe(false);
  });

  it.each([
    ['a flipped byte', flipByte],
    ['a file cut short', (file: string) => fs.truncateSync(file, 3)],
    ['an empty file', (file: string) => fs.truncateSync(file, 0)],
    ['a longer file', (file: string) => fs.appendFileSync(file, 'x')],
    ['a link', (file: string) => { fs.rmSync(file); fs.symlinkSync('/etc/passwd', file); }],
    ['a directory', (file: string) => { fs.rmSync(file); fs.mkdirSync(file); }],
  ])('a damaged object is removed and can be stored again: %s', async (_name, damage) => {
    const { after } = await afterCrash((cache) => objects.forEach((object) => damage(cache.file(object.id))));
    for (const object of objects) {
      expect(await after.verify(object.id)).toBe(false);
      expect(readBack(after, object.id)).toBeNull();
      expect(fs.existsSync(after.file(object.id))).toBe(false);
      await insert(after, object);
      expect((readBack(after, object.id) as Buffer).equals(object.plain)).toBe(true);
    }
    expect(await after.check({ repair: false })).toMatchObject({ sound: true, objects: objects.length });
  });

  it('an object whose size changed in the same boot is taken for absent, and storing it again repairs it', async () => {
    const cache = await caches.open();
    const object = objects[2]!;
    await insert(cache, object);
    const { mtime } = fs.statSync(cache.file(object.id));
    fs.truncateSync(cache.file(object.id), 10);
    fs.utimesSync(cache.file(object.id), mtime, mtime);
    expect(readBack(cache, object.id, object.plain.length)).toBeNull();
    expect(await cache.ensure(object.id, object.plain.length)).toBe(false);
    await insert(cache, object);
    expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
  });

  it('a row that lies about the size does no harm to the object that others read', async () => {
    const cache = await caches.open();
    const object = objects[0]!;
    await insert(cache, object);
    expect(await cache.ensure(object.id, 3)).toBe(false);
    await expect(insert(cache, object, { plainSize: 3 })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
    expect(readBack(cache, object.id, object.plain.length)).toEqual(object.plain);
  });
});
