/** The cache with what only the real thing shows: killed processes, two processes, a full file system, the thread. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ObjectCache } from '../../src/cache/object-cache';
import type { ObjectCacheWorld } from '../../src/cache/object-cache';
import { RepositoryFiles } from '../../src/cache/repository-files';
import { InProcessExecutor, ThreadExecutor } from '../../src/cache/unpack-executor';
import { MNT_DETACH, libc } from '../../src/native/libc';
import { churnBytes, numberedObject, pieces } from '../support/cache-child';
import { body, failure, filesIn, insert, randomSample, readBack, recordingLogger, sample } from '../unit/cache/support';

const MIB = 1 << 20;
const register = path.resolve(__dirname, '../support/register-typescript.js');
const child = path.resolve(__dirname, '../support/cache-child.ts');

let dir: string;
const opened: ObjectCache[] = [];
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cache-integration-'));
});
afterEach(async () => {
  for (const cache of opened.splice(0)) await cache.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(at: string, limitBytes = 100 * MIB, world: Partial<ObjectCacheWorld> = {}): Promise<ObjectCache> {
  const cache = await ObjectCache.open({ dir: at, limitBytes }, { log: recordingLogger(), executor: (context) => new InProcessExecutor(context), ...world });
  opened.push(cache);
  return cache;
}

function run(...args: string[]): Promise<{ code: number | null; signal: string | null; stderr: string }> {
  const running = spawn(process.execPath, ['-r', register, child, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  running.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve) => running.on('close', (code, signal) => resolve({ code, signal, stderr })));
}

describe('a process killed while it stores an object', () => {
  const cases = ['temp made', 'temp written', 'recorded', 'renamed'].flatMap((step) => [['small', step, 5000], ['large', step, 200_000]] as Array<[string, string, number]>);
  it.each(cases)('%s, at "%s": the object is there whole or not at all, and can be stored', async (_size, step, bytes) => {
    const cacheDir = path.join(dir, 'cache');
    expect(await run('crash', cacheDir, step, String(bytes))).toMatchObject({ signal: 'SIGKILL' });
    const object = numberedObject(0, bytes);
    const temps = fs.readdirSync(`${cacheDir}/txn`).length;
    expect(temps).toBe(step === 'renamed' ? 0 : 1);
    const cache = await open(cacheDir);
    expect(filesIn(cache).temps).toEqual([]);
    expect(cache.has(object.id, bytes)).toBe(step === 'renamed');
    if (step === 'renamed') expect((readBack(cache, object.id, bytes) as Buffer).equals(object.plain)).toBe(true);
    expect(await cache.check({ repair: false })).toMatchObject({ missing: { count: step === 'recorded' ? 1 : 0 }, damaged: { count: 0 }, unrecorded: { count: 0 } });
    await cache.insert(object.id, pieces(object.stored), { plainSize: bytes, maxPlainBytes: MIB });
    expect((readBack(cache, object.id, bytes) as Buffer).equals(object.plain)).toBe(true);
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true, objects: 1 });
  }, 30_000);
});

describe('several processes', () => {
  it('share a directory and its limit', async () => {
    const cacheDir = path.join(dir, 'cache');
    const limit = 2 * MIB;
    const results = await Promise.all([run('churn', cacheDir, String(limit), '0', '150'), run('churn', cacheDir, String(limit), '75', '225')]);
    for (const result of results) expect(result).toMatchObject({ code: 0, stderr: '' });
    const cache = await open(cacheDir, limit);
    expect(cache.usage().bytes).toBeLessThanOrEqual(limit);
    const found = await cache.check({ repair: false });
    expect(found).toMatchObject({ sound: true });
    expect(found.totals.actual).toEqual(found.totals.recorded);
  }, 60_000);

  it('see each other’s objects at once', async () => {
    const cacheDir = path.join(dir, 'cache');
    const cache = await open(cacheDir);
    expect(await run('churn', cacheDir, String(100 * MIB), '0', '30')).toMatchObject({ code: 0 });
    for (let number = 0; number < 30; number++) {
      const object = numberedObject(number, churnBytes(number));
      expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    }
  }, 60_000);
});

const asRoot = process.geteuid!() === 0 ? describe : describe.skip;
asRoot('a file system that is full before the limit is reached', () => {
  const SIZE = 6 * MIB;
  let mountpoint: string;
  beforeEach(() => {
    mountpoint = path.join(dir, 'tmpfs');
    fs.mkdirSync(mountpoint);
    libc().mount('tmpfs', mountpoint, 'tmpfs', 0, `size=${SIZE},mode=0700`);
  });
  afterEach(async () => {
    for (const cache of opened.splice(0)) await cache.close();
    libc().umount2(mountpoint, MNT_DETACH);
  });

  it('is the limit', async () => {
    const cache = await open(path.join(mountpoint, 'cache'), 1 << 30);
    for (let at = 0; at < 40; at++) {
      const object = randomSample(at % 2 === 0 ? 500_000 : 20_000);
      await insert(cache, object, { plainSize: at % 4 === 0 ? null : object.plain.length });
      expect(cache.has(object.id, object.plain.length)).toBe(true);
    }
    expect(cache.usage().effectiveLimitBytes).toBeLessThanOrEqual(SIZE);
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true });
  }, 30_000);

  // Whatever the file system says about its free space is believed for a second, and others write there too.
  it('evicts and goes on when writing fails in the middle', async () => {
    const cache = await open(path.join(mountpoint, 'cache'), 1 << 30, { freeBytes: () => 1e12 });
    for (let at = 0; at < 60; at++) {
      const object = randomSample(at % 2 === 0 ? 400_000 : 30_000);
      const inserted = await insert(cache, object, { plainSize: at % 4 === 0 ? null : object.plain.length });
      expect(inserted.memory).toBeUndefined();
      expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    }
    expect(await cache.check({ repair: false })).toMatchObject({ damaged: { count: 0 }, unrecorded: { count: 0 } });
    expect(filesIn(cache).temps).toEqual([]);
  }, 30_000);

  it('serves readers from memory when there is nothing to evict, and stores again when there is space', async () => {
    const cache = await open(path.join(mountpoint, 'cache'), 1 << 30, { freeBytes: () => 1e12 });
    const files = new RepositoryFiles(cache.dir, 'images.example.org');
    files.write('manifest', Buffer.from('the old one'));
    const small = sample('small '.repeat(3000));
    const large = randomSample(MIB);
    const ballast = path.join(mountpoint, 'ballast');
    const fd = fs.openSync(ballast, 'w');
    try {
      for (;;) fs.writeSync(fd, Buffer.alloc(4096, 1));
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
    fs.closeSync(fd);
    for (const object of [small, large]) {
      await failure(insert(cache, object), 'NO_SPACE');
      expect((await insert(cache, object, { orMemoryMaxBytes: 32 * MIB })).memory?.equals(object.plain)).toBe(true);
      expect((await cache.fetchToMemory(object.id, body(object.stored), { maxPlainBytes: 32 * MIB })).equals(object.plain)).toBe(true);
    }
    expect(() => files.write('manifest', Buffer.alloc(10_000, 'x'))).toThrow(expect.objectContaining({ code: 'NO_SPACE' }));
    expect(files.read('manifest')?.toString()).toBe('the old one');
    expect(filesIn(cache)).toEqual({ objects: [], temps: [] });
    fs.rmSync(ballast);
    for (const object of [small, large]) {
      await insert(cache, object);
      expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    }
  }, 30_000);
});

describe('the thread that unpacks', () => {
  function threaded(cacheDir: string, idleMs?: number): Promise<ObjectCache> {
    const shim = path.join(dir, 'worker.js');
    fs.writeFileSync(shim, `require(${JSON.stringify(register)}); require(${JSON.stringify(path.resolve(__dirname, '../../src/cache/unpack-worker.ts'))});`);
    return open(cacheDir, 100 * MIB, { executor: (context) => new ThreadExecutor(context, shim, idleMs) });
  }

  it('stores batches, and says what is wrong with a bad object', async () => {
    const cache = await threaded(path.join(dir, 'cache'));
    const objects = Array.from({ length: 300 }, (_, number) => numberedObject(number, 100 + number));
    await Promise.all(objects.map((object) => insert(cache, object)));
    for (const object of objects) expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    expect((await failure(insert(cache, { ...sample('x'), stored: Buffer.from('<html>') }), 'OBJECT_CORRUPT')).data).toMatchObject({ reason: 'hash' });
    expect(await cache.check({ repair: false })).toMatchObject({ sound: true, objects: 300 });
  }, 30_000);

  it('ends when it has nothing to do, and is started again for the next batch', async () => {
    const threads = (): number => fs.readdirSync('/proc/self/task').length;
    const cache = await threaded(path.join(dir, 'cache'), 20);
    const without = threads();
    for (const round of [1, 2]) {
      const objects = Array.from({ length: 50 }, (_, number) => numberedObject(1_000 * round + number, 100));
      await Promise.all(objects.map((object) => insert(cache, object)));
      expect(threads()).toBeGreaterThan(without);
      for (let tries = 0; threads() > without && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(threads()).toBe(without);
      for (const object of objects) expect((readBack(cache, object.id, object.plain.length) as Buffer).equals(object.plain)).toBe(true);
    }
  }, 60_000);

  it('that can not start fails the objects it was given, not the process', async () => {
    const cache = await open(path.join(dir, 'cache'), 100 * MIB, { executor: (context) => new ThreadExecutor(context, path.join(dir, 'absent.js')) });
    await failure(insert(cache, sample('x')), 'INTERNAL');
    await failure(insert(cache, sample('y')), 'INTERNAL');
  }, 30_000);
});
