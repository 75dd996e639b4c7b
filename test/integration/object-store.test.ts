/** Cache and network as one: who goes first, who gives up, and what a reader sees before the disk has it. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ObjectReader } from '../../src/cache/object-reader';
import type { ObjectCache } from '../../src/cache/object-cache';
import { objectName } from '../../src/cache/object-name';
import { objectPath } from '../../src/cvmfs/object';
import type { ObjectNeed } from '../../src/repository/missing';
import { ObjectStore } from '../../src/repository/object-store';
import { Spill } from '../../src/repository/spill';
import type { TransferSettings } from '../../src/transfer/transfer-options';
import { startHttpServer, type TestHttpServer } from '../support/http-server';
import { startTransfer, type TestTransfer } from '../support/transfer';
import { MIB, TestCaches, randomSample } from '../unit/cache/support';

const turns = async (until: () => boolean): Promise<void> => {
  while (!until()) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('object store', () => {
  let caches: TestCaches;
  let server: TestHttpServer;
  let cache: ObjectCache;
  let spillDir: string;
  let transfers: TestTransfer[];
  let reader: ObjectReader;

  const start = (settings: Partial<TransferSettings> = {}, deadlineMs = 20_000): ObjectStore => {
    const started = startTransfer({ servers: [`${server.url}/r`], ...settings });
    transfers.push(started);
    return new ObjectStore(cache, reader, started.transfer, { deadlineMs, spill: new Spill(spillDir) });
  };
  /** An object on the server, and its path there. */
  const published = (bytes: number, kind: ObjectNeed['kind'] = 'file'): { need: ObjectNeed; plain: Buffer; url: string } => {
    const { id, plain, stored } = randomSample(bytes);
    const need = { ...id, kind, plainSize: plain.length, what: `/file of ${bytes} bytes ${crypto.randomBytes(4).toString('hex')}` };
    const url = `/r/${objectPath(need)}`;
    server.files.set(url, stored);
    return { need, plain, url };
  };
  const content = (store: ObjectStore, need: ObjectNeed): Buffer => {
    const bytes = Buffer.alloc(need.plainSize!);
    expect(store.read(need, bytes, 0, 0, bytes.length)).toBe(bytes.length);
    return bytes;
  };

  beforeEach(async () => {
    caches = new TestCaches();
    transfers = [];
    server = await startHttpServer();
    cache = await caches.open();
    reader = new ObjectReader(cache.dir, cache.generation);
    spillDir = fs.mkdtempSync(path.join(os.tmpdir(), 'spill-'));
  });
  afterEach(async () => {
    for (const { transfer } of transfers) await transfer.close();
    await server.close();
    reader.close();
    await caches.end();
    fs.rmSync(spillDir, { recursive: true });
  });

  it.each([0, 1, 3_000, 128 << 10, (128 << 10) + 1, 3 * MIB])('serves an object of %d bytes at once, and everybody soon', async (size) => {
    const store = start();
    const { need, plain } = published(size);
    await store.ensure(need);
    expect(store.isLocal(need)).toBe(true);
    expect(content(store, need).equals(plain)).toBe(true);
    await store.ensure(need, { onDisk: true });
    expect(fs.readFileSync(cache.file(need)).equals(plain)).toBe(true);
    expect(content(store, need).equals(plain)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  it('has on the disk what is opened by its path', async () => {
    const store = start();
    const { need, plain } = published(5_000, 'catalog');
    await store.ensure(need);
    expect(fs.readFileSync(store.file(need)).equals(plain)).toBe(true);
  });

  it('shows nobody an object that does not have its hash, however it is wanted', async () => {
    const store = start();
    for (const options of [{}, { background: true }, { onDisk: true }]) {
      const { need } = published(2_000);
      server.behave = () => ({ kind: 'corrupt' });
      await expect(store.ensure(need, options)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
      expect(store.isLocal(need)).toBe(false);
      expect(fs.existsSync(cache.file(need))).toBe(false);
    }
  });

  it('serves a reader from memory when the disk is full, and fetches once', async () => {
    const full = await caches.open({ dir: path.join(caches.dir, 'full') }, { freeBytes: () => 0 });
    const started = startTransfer({ servers: [`${server.url}/r`] });
    transfers.push(started);
    const store = new ObjectStore(full, new ObjectReader(full.dir, full.generation), started.transfer, { deadlineMs: 20_000, spill: new Spill(spillDir) });
    const { need, plain } = published(2_000);
    await store.ensure(need);
    await store.ensure(need, { onDisk: true });
    expect(content(store, need).equals(plain)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  it('fetches an object once for all who want it, and promotes it when a reader is among them', async () => {
    const store = start({ maxInFlight: 1, maxConnections: 1, timeoutDirectMs: 10_000 });
    const order: string[] = [];
    const [blocker, other, wanted] = [published(100), published(200), published(300)];
    server.behave = (url) => (url === blocker.url ? { kind: 'delay', ms: 300 } : undefined);
    const noted = (name: string, work: Promise<void>): Promise<void> => work.then(() => void order.push(name));
    const all = [
      noted('blocker', store.ensure(blocker.need)),
      noted('other', store.ensure(other.need, { background: true })),
      noted('wanted early', store.ensure(wanted.need, { background: true })),
    ];
    await turns(() => server.requests.length === 1);
    all.push(noted('wanted', store.ensure(wanted.need)));
    await Promise.all(all);
    expect(order).toEqual(['blocker', 'wanted early', 'wanted', 'other']);
    expect(server.count(wanted.url)).toBe(1);
  });

  it('asks again for a reader when a guess that it joined was told that the object is on no server', async () => {
    const store = start();
    const { need, plain } = published(1_000);
    let there = false;
    server.behave = () => (there ? undefined : { kind: 'status', status: 404 });
    const guess = store.ensure(need, { background: true }).finally(() => (there = true));
    const refused = expect(guess).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
    await store.ensure(need);
    await refused;
    expect(content(store, need).equals(plain)).toBe(true);
  });

  it("gives a reader time of its own when a background fetch's has run out", async () => {
    const store = start({ timeoutDirectMs: 10_000 });
    const { need, plain, url } = published(1_000);
    server.behave = () => (server.count(url) === 1 ? { kind: 'hang' } : undefined);
    const early = store.ensure(need, { background: true, deadlineMs: 300 });
    const refused = expect(early).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await turns(() => server.requests.length === 1);
    await store.ensure(need);
    await refused;
    expect(content(store, need).equals(plain)).toBe(true);
  });

  it('never asks for what was given up while it waited', async () => {
    const store = start({ maxInFlight: 1, maxConnections: 1, timeoutDirectMs: 10_000 });
    const [blocker, dropped] = [published(100), published(200)];
    server.behave = (url) => (url === blocker.url ? { kind: 'delay', ms: 200 } : undefined);
    const first = store.ensure(blocker.need);
    await turns(() => server.requests.length === 1);
    const controller = new AbortController();
    const given = expect(store.ensure(dropped.need, { background: true, signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    controller.abort();
    await given;
    await first;
    const last = published(50);
    await store.ensure(last.need);
    expect(server.count(dropped.url)).toBe(0);
    await store.ensure(dropped.need);
    expect(store.isLocal(dropped.need)).toBe(true);
  });

  it('goes on for a reader when the one who began it gives it up, also while it is sent', async () => {
    const store = start({ timeoutDirectMs: 10_000 });
    const { need, plain, url } = published(1_000);
    server.behave = () => ({ kind: 'delay', ms: 200 });
    const controller = new AbortController();
    const given = expect(store.ensure(need, { background: true, signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await turns(() => server.requests.length === 1);
    const wanted = store.ensure(need);
    controller.abort();
    await given;
    await wanted;
    expect(content(store, need).equals(plain)).toBe(true);
    expect(server.count(url)).toBe(1);
  });

  it('ends the download when all readers have given it up', async () => {
    const store = start({ timeoutDirectMs: 10_000 });
    const { need } = published(1_000);
    server.behave = () => ({ kind: 'hang' });
    const controller = new AbortController();
    const given = expect(store.ensure(need, { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await turns(() => server.requests.length === 1);
    controller.abort();
    await given;
    await turns(() => server.connections.open === 0);
    expect(transfers[0]!.transfer.status().counters.inFlight).toBe(0);
  });

  it('fetches many at once, each once, and stores all of them', async () => {
    const store = start({ timeoutDirectMs: 10_000 });
    const objects = Array.from({ length: 300 }, (_, at) => published(200 + at));
    await Promise.all(objects.flatMap(({ need }, at) => [store.ensure(need, at % 2 === 0 ? { background: true } : {}), store.ensure(need)]));
    for (const { need, plain } of objects) expect(content(store, need).equals(plain)).toBe(true);
    await Promise.all(objects.map(({ need }) => store.ensure(need, { onDisk: true })));
    for (const { need } of objects) expect(fs.existsSync(path.join(cache.dir, 'objects', objectName(need).slice(0, 2), objectName(need)))).toBe(true);
    expect(server.requests).toHaveLength(300);
    expect(store.counters).toEqual({ fetched: 300, failed: 0 });
  });
});
