import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as zlib from 'node:zlib';
import type { ObjectCache } from '../../../src/cache/object-cache';
import type { StoreStep } from '../../../src/cache/store';
import { hashBytes } from '../../../src/cvmfs/hash';
import { Failure } from '../../../src/error';
import { MIB, TestCaches, body, charged, failure, filesIn, insert, randomSample, readBack, sample } from './support';
import type { Sample } from './support';

const caches: TestCaches[] = [];
function newCaches(): TestCaches {
  const made = new TestCaches();
  caches.push(made);
  return made;
}
afterEach(async () => {
  for (const made of caches.splice(0)) await made.end();
});

async function expectNothingStored(cache: ObjectCache): Promise<void> {
  expect(filesIn(cache)).toEqual({ objects: [], temps: [] });
  expect(cache.usage()).toMatchObject({ objects: 0, bytes: 0 });
}

const SIZES: Array<[string, Sample]> = [
  ['empty', sample('')],
  ['small', sample('hello '.repeat(100))],
  ['small, uncompressed', sample('hello', { compression: 'none' })],
  ['empty, uncompressed', sample('', { compression: 'none' })],
  ['just under the border of batches', randomSample(65_000)],
  ['over the border of batches', randomSample(70_000)],
  ['large', randomSample(5 * MIB)],
  ['large, uncompressed', randomSample(5 * MIB, { compression: 'none' })],
  ['a few bytes that unpack to many', sample(Buffer.alloc(6 * MIB, 'z'))],
];

describe('inserting objects', () => {
  it.each(SIZES)('stores the plain bytes: %s', async (_name, object) => {
    const cache = await newCaches().open();
    expect(cache.has(object.id, null)).toBe(false);
    expect(await insert(cache, object)).toEqual({ plainSize: object.plain.length });
    expect(cache.has(object.id, object.plain.length)).toBe(true);
    expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    expect((await cache.read(object.id))?.equals(object.plain)).toBe(true);
    expect(cache.usage()).toMatchObject({ objects: 1, bytes: charged(object) });
    expect(filesIn(cache).temps).toEqual([]);
    expect(fs.statSync(cache.file(object.id)).mode & 0o777).toBe(0o600);
  });

  it.each(SIZES)('and does so without knowing the size: %s', async (_name, object) => {
    const cache = await newCaches().open();
    expect(await insert(cache, object, { plainSize: null })).toEqual({ plainSize: object.plain.length });
    expect((readBack(cache, object.id) as Buffer).equals(object.plain)).toBe(true);
    expect((await cache.fetchToMemory(object.id, body(object.stored), { maxPlainBytes: 32 * MIB })).equals(object.plain)).toBe(true);
  });

  it.each(['sha1', 'rmd160', 'shake128'] as const)('checks the hash with the algorithm of the name: %s', async (algorithm) => {
    const cache = await newCaches().open();
    const object = sample('some content', { algorithm });
    await insert(cache, object);
    expect(readBack(cache, object.id)).toEqual(object.plain);
    const other = { ...object.id, hash: { algorithm: algorithm === 'sha1' ? ('rmd160' as const) : ('sha1' as const), digest: object.id.hash.digest } };
    expect(cache.has(other, null)).toBe(false);
    await failure(cache.insert(other, body(object.stored), { maxPlainBytes: MIB }), 'OBJECT_CORRUPT');
  });

  it('keeps the same hash of another compression apart: nobody can publish one repository’s stored bytes as another one’s file', async () => {
    const cache = await newCaches().open();
    const secret = sample('a program that everybody runs');
    const poison: Sample = { id: { ...secret.id, compression: 'none' }, plain: secret.stored, stored: secret.stored };
    await insert(cache, poison);
    expect(readBack(cache, secret.id)).toBeNull();
    await insert(cache, secret);
    expect(readBack(cache, secret.id)).toEqual(secret.plain);
    expect(readBack(cache, poison.id)).toEqual(secret.stored);
  });

  it('takes many at once, and the same one many times', async () => {
    const cache = await newCaches().open();
    const objects = Array.from({ length: 300 }, (_, at) => sample(`object ${at}`));
    const large = randomSample(300_000);
    await Promise.all([...objects, ...objects, large, large, large].map((object) => insert(cache, object)));
    for (const object of [...objects, large]) expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    expect(cache.usage()).toMatchObject({ objects: 301, bytes: charged(...objects, large) });
    expect(filesIn(cache).temps).toEqual([]);
  });

  it('lets one bad object of a batch fail alone', async () => {
    const cache = await newCaches().open();
    const objects = Array.from({ length: 20 }, (_, at) => sample(`object ${at}`));
    const results = await Promise.allSettled(objects.map((object, at) => (at === 7 ? insert(cache, { ...object, stored: Buffer.from('<html>captive portal</html>') }) : insert(cache, object))));
    expect(results.map((result) => result.status === 'fulfilled')).toEqual(objects.map((_, at) => at !== 7));
    expect(cache.usage().objects).toBe(19);
  });
});

describe('bodies that are not the object', () => {
  const small = sample('hello '.repeat(1000));
  const large = randomSample(MIB);
  const flipped = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy[copy.length >> 1]! ^= 1;
    return copy;
  };
  /** Stored bytes that have the hash in their id, and are wrong in themselves. */
  const lying = (stored: Buffer, plain: Buffer): Sample => ({ id: { hash: hashBytes('sha1', stored), kind: 'file', compression: 'zlib' }, stored, plain });

  const CASES: Array<[string, Sample, string[]]> = [];
  for (const [size, object] of [['small', small], ['large', large]] as const) {
    CASES.push(
      [`${size}: a flipped bit`, { ...object, stored: flipped(object.stored) }, ['hash', 'stream']],
      [`${size}: cut short`, { ...object, stored: object.stored.subarray(0, object.stored.length - 5) }, ['hash', 'stream']],
      [`${size}: empty`, { ...object, stored: Buffer.alloc(0) }, ['hash']],
      [`${size}: bytes behind it`, { ...object, stored: Buffer.concat([object.stored, Buffer.from('more')]) }, ['hash', 'stream']],
      [`${size}: a web page`, { ...object, stored: Buffer.from('<html><body>Please log in</body></html>') }, ['hash', 'stream']],
      [`${size}: a zlib stream with bytes behind it that has the right hash`, lying(Buffer.concat([object.stored, Buffer.from('more')]), object.plain), ['content', 'stream']],
      [`${size}: a zlib stream with many bytes behind it that has the right hash`, lying(Buffer.concat([object.stored, crypto.randomBytes(200_000)]), object.plain), ['content', 'stream']],
      [`${size}: half a zlib stream that has the right hash`, lying(object.stored.subarray(0, object.stored.length >> 1), object.plain), ['content', 'stream']],
      [`${size}: longer than the catalog says`, { ...object, plain: object.plain.subarray(1) }, ['content', 'stream']],
      [`${size}: shorter than the catalog says`, { ...object, plain: Buffer.concat([object.plain, Buffer.from('x')]) }, ['content']],
    );
  }

  it.each(CASES)('%s', async (_name, object, reasons) => {
    const cache = await newCaches().open();
    const caught = await failure(insert(cache, object), 'OBJECT_CORRUPT');
    expect(reasons).toContain(caught.data['reason']);
    expect(caught.message).toContain(object.id.hash.digest.toString('hex'));
    await failure(cache.fetchToMemory(object.id, body(object.stored), { plainSize: object.plain.length, maxPlainBytes: 32 * MIB }), 'OBJECT_CORRUPT');
    await expectNothingStored(cache);
  });

  it('an uncompressed object that is none', async () => {
    const cache = await newCaches().open();
    const object = sample('the right content', { compression: 'none' });
    await failure(insert(cache, { ...object, stored: Buffer.from('the wrong content') }), 'OBJECT_CORRUPT');
    await expectNothingStored(cache);
  });

  it('a bomb: 64 KiB that unpack to far more than anybody accepts', async () => {
    const cache = await newCaches().open();
    const bomb = sample(Buffer.alloc(60 * MIB));
    expect(bomb.stored.length).toBeLessThan(65_536);
    await failure(insert(cache, bomb, { plainSize: null, maxPlainBytes: MIB }), 'OBJECT_TOO_BIG');
    await failure(insert(cache, bomb, { plainSize: null, maxPlainBytes: 50 * MIB }), 'OBJECT_TOO_BIG');
    await failure(insert(cache, bomb, { plainSize: 1000 }), 'OBJECT_CORRUPT');
    await failure(insert(cache, bomb, { maxPlainBytes: 59 * MIB }), 'OBJECT_TOO_BIG');
    await failure(cache.fetchToMemory(bomb.id, body(bomb.stored), { maxPlainBytes: MIB }), 'OBJECT_TOO_BIG');
    await expectNothingStored(cache);
  });

  it('a body that never ends and never unpacks to anything', async () => {
    const cache = await newCaches().open();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield zlib.deflateSync(Buffer.alloc(0)).subarray(0, 2);
      // Empty stored blocks: valid deflate, no content.
      for (;;) yield Buffer.from('000000ffff'.repeat(4096), 'hex');
    }
    await failure(cache.insert(small.id, endless(), { plainSize: null, maxPlainBytes: MIB }), 'OBJECT_TOO_BIG');
    await expectNothingStored(cache);
  });

  it('a connection that breaks: its own error comes out, and nothing stays', async () => {
    const cache = await newCaches().open();
    for (const object of [small, large]) {
      async function* breaking(): AsyncGenerator<Uint8Array> {
        yield* body(object.stored.subarray(0, object.stored.length - 10));
        throw new Failure('NETWORK', 'the line went dead');
      }
      const caught = await failure(cache.insert(object.id, breaking(), { plainSize: object.plain.length, maxPlainBytes: 32 * MIB }), 'NETWORK');
      expect(caught.message).toBe('the line went dead');
    }
    await expectNothingStored(cache);
  });

  it('an abort ends a large insert', async () => {
    const cache = await newCaches().open();
    const abort = new AbortController();
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield large.stored.subarray(0, 100_000);
      abort.abort();
      yield large.stored.subarray(100_000);
    }
    await expect(cache.insert(large.id, slow(), { plainSize: null, maxPlainBytes: 32 * MIB, signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    await expectNothingStored(cache);
  });
});

describe('a failure at any step of storing', () => {
  for (const [size, object] of [['small', sample('hello')], ['large', randomSample(200_000)]] as const) {
    it.each(['temp made', 'temp written', 'recorded', 'renamed'] as StoreStep[])(`${size}: %s`, async (where) => {
      const made = newCaches();
      let armed = true;
      const cache = await made.open({}, {
        step: (step) => {
          if (armed && step === where) throw new Error('injected');
        },
      });
      await failure(insert(cache, object), 'INTERNAL');
      const stored = where === 'renamed';
      expect(cache.has(object.id, object.plain.length)).toBe(stored);
      expect(filesIn(cache).temps).toEqual([]);
      expect(cache.usage()).toMatchObject(stored ? { objects: 1, bytes: charged(object) } : { objects: 0, bytes: 0 });
      expect(await cache.check({ repair: false })).toMatchObject({ sound: true });
      armed = false;
      await insert(cache, object);
      expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
      expect(cache.usage()).toMatchObject({ objects: 1, bytes: charged(object) });
    });
  }
});
