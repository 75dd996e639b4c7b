import * as crypto from 'node:crypto';
import { Failure } from '../../src/error';
import { createTransfer } from '../../src/transfer/transfer';
import type { TransferSettings } from '../../src/transfer/transfer-options';
import { startHttpServer, type TestHttpServer } from '../support/http-server';
import { startProxyServer } from '../support/proxy-server';
import { startTransfer, type TestTransfer } from '../support/transfer';

const object = crypto.randomBytes(50_000);
const wanted = { path: 'o', maxBytes: 1e6 };
const turns = async (until: () => boolean): Promise<void> => {
  while (!until()) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('limits of transfers', () => {
  let server: TestHttpServer;
  let transfers: TestTransfer[];
  const start = (settings: Partial<TransferSettings> = {}): TestTransfer => {
    const started = startTransfer({ servers: [`${server.url}/r`], ...settings });
    transfers.push(started);
    return started;
  };

  beforeEach(async () => {
    transfers = [];
    server = await startHttpServer();
    server.files.set('/r/o', object);
  });
  afterEach(async () => {
    for (const { transfer } of transfers) await transfer.close();
    await server.close();
  });

  it('refuses an oversize body by its announced length, before the consumer sees it', async () => {
    const consume = jest.fn();
    await expect(start().transfer.fetch({ path: 'o', maxBytes: 49_999 }, consume)).rejects.toMatchObject({ code: 'OBJECT_TOO_BIG', message: expect.stringMatching(/^o: .*127\.0\.0\.1.*larger than the 49999 bytes/) as string });
    expect(consume).not.toHaveBeenCalled();
    // Once more past the caches on the way: it may have been one's own page.
    expect(server.count('/r/o')).toBe(2);
  });

  it('asks another server when one sends a long page in place of a small object', async () => {
    const page = Buffer.from('<html>'.repeat(20_000));
    server.behave = (url) => (url.startsWith('/portal/') ? { kind: 'body', body: page } : undefined);
    const { transfer } = start({ servers: [`${server.url}/portal`, `${server.url}/r`] });
    expect((await transfer.fetchBytes({ path: 'o', maxBytes: 50_000 })).bytes.equals(object)).toBe(true);
  });

  it('refuses an oversize body of unannounced length when it passes the limit', async () => {
    server.behave = () => ({ kind: 'body', body: object, headers: { 'transfer-encoding': 'chunked' } });
    await expect(start().transfer.fetchBytes({ path: 'o', maxBytes: 1000 })).rejects.toMatchObject({ code: 'OBJECT_TOO_BIG' });
    expect((await start().transfer.fetchBytes({ path: 'o', maxBytes: 50_000 })).bytes.equals(object)).toBe(true);
  });

  it('ends at once when the caller aborts, before the answer and in the middle of the body', async () => {
    const { transfer } = start({ timeoutDirectMs: 10_000 });
    for (const behaviour of [{ kind: 'hang' }, { kind: 'stall', bytes: 100 }] as const) {
      server.behave = () => behaviour;
      const seen = server.requests.length;
      const controller = new AbortController();
      const fetching = transfer.fetchBytes({ ...wanted, signal: controller.signal });
      await turns(() => server.requests.length > seen);
      controller.abort();
      await expect(fetching).rejects.toMatchObject({ code: 'CANCELLED' });
    }
    expect(transfer.status().counters).toMatchObject({ inFlight: 0, queued: 0, retries: 0 });
    await expect(transfer.fetchBytes({ ...wanted, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('cancels many downloads by one signal, without a warning', async () => {
    const warned = jest.fn();
    process.on('warning', warned);
    server.behave = () => ({ kind: 'hang' });
    const { transfer } = start({ timeoutDirectMs: 10_000, maxConnections: 16 });
    const controller = new AbortController();
    const all = Array.from({ length: 30 }, () => transfer.fetchBytes({ ...wanted, signal: controller.signal }));
    await turns(() => server.requests.length === 16);
    controller.abort();
    const ended = await Promise.allSettled(all);
    process.off('warning', warned);
    expect(ended.every((end) => end.status === 'rejected' && (end.reason as Failure).code === 'CANCELLED')).toBe(true);
    expect(warned).not.toHaveBeenCalled();
  });

  it('ends at the deadline, saying who was being asked', async () => {
    server.behave = () => ({ kind: 'hang' });
    const { transfer } = start({ timeoutDirectMs: 10_000 });
    await expect(transfer.fetchBytes({ ...wanted, deadlineMs: 100 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: expect.stringContaining(`${server.url}/r via DIRECT: being asked`) as string });
    const { transfer: limited } = start({ timeoutDirectMs: 10_000, totalTimeoutMs: 100 });
    await expect(limited.fetchBytes(wanted)).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it("hands on the consumer's own failure without asking anybody else", async () => {
    const { transfer } = start({ servers: [`${server.url}/r`, `${server.url}/s`] });
    const full = new Failure('NO_SPACE', 'disk full');
    await expect(transfer.fetch(wanted, () => Promise.reject(full))).rejects.toBe(full);
    expect(server.requests).toHaveLength(1);
  });

  it('does not count the time that a slow consumer takes against the server', async () => {
    const big = crypto.randomBytes(1_000_000);
    server.files.set('/r/o', big);
    const { transfer } = start({ timeoutDirectMs: 100 });
    const length = await transfer.fetch(wanted, async (body) => {
      let bytes = 0;
      for await (const chunk of body) {
        if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 400));
        bytes += chunk.length;
      }
      return bytes;
    });
    expect(length).toBe(big.length);
    expect(server.requests).toHaveLength(1);
  });

  it('uses connections again', async () => {
    const { transfer } = start();
    for (let i = 0; i < 30; i++) await transfer.fetchBytes(wanted);
    expect(server.requests).toHaveLength(30);
    // The library lets a connection rest for one turn of the event loop, so two take turns.
    expect(server.connections.total).toBeLessThanOrEqual(2);
  });

  it('keeps a connection after an error page', async () => {
    const { transfer } = start();
    for (let i = 0; i < 5; i++) await expect(transfer.fetchBytes({ path: 'absent', maxBytes: 10 })).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
    expect(server.connections.total).toBeLessThanOrEqual(2);
  });

  it('answers 200 requests at once over 16 connections, direct and through a proxy', async () => {
    const proxy = await startProxyServer();
    try {
      for (const proxies of [[], [[proxy.url]]]) {
        const { transfer } = start({ maxConnections: 16, proxies, timeoutMs: 10_000, timeoutDirectMs: 10_000 });
        const all = await Promise.all(Array.from({ length: 200 }, () => transfer.fetchBytes(wanted)));
        expect(all.every(({ bytes }) => bytes.equals(object))).toBe(true);
        expect(transfer.status().counters).toMatchObject({ requests: 200, bytes: 200 * object.length, failures: 0, inFlight: 0, queued: 0 });
        const most = proxies.length === 0 ? server.connections.most : proxy.connections.most;
        expect(most).toBeLessThanOrEqual(16);
      }
    } finally {
      await proxy.close();
    }
  });

  it('lets a reader overtake a prefetch, and turns away what its queue can not hold', async () => {
    const { transfer } = start({ maxInFlight: 1, maxConnections: 1, maxQueued: 2, timeoutDirectMs: 10_000 });
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const order: string[] = [];
    const run = (name: string, background: boolean, wait: Promise<void> | undefined) =>
      transfer.fetch({ ...wanted, background }, async (body) => {
        for await (const chunk of body) void chunk;
        await wait;
        order.push(name);
      });
    const running = [run('first', false, gate), run('prefetch 1', true, undefined), run('prefetch 2', true, undefined), run('reader', false, undefined)];
    await expect(run('prefetch 3', true, undefined)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    open();
    await Promise.all(running);
    expect(order).toEqual(['first', 'reader', 'prefetch 1', 'prefetch 2']);
  });

  describe('redirects', () => {
    const to = (location: string) => ({ kind: 'status', status: 302, headers: { location } }) as const;

    it('are refused unless asked for', async () => {
      server.behave = (url) => (url === '/r/o' ? to('/elsewhere') : undefined);
      server.files.set('/elsewhere', object);
      await expect(start().transfer.fetchBytes(wanted)).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('redirect') as string });
      expect(server.count('/elsewhere')).toBe(0);
      const { info } = await start({ followRedirects: true }).transfer.fetchBytes(wanted);
      expect(info).toMatchObject({ url: `${server.url}/elsewhere`, server: `${server.url}/r` });
    });

    it('end after four hops', async () => {
      server.behave = (url) => (url.startsWith('/r/') ? to('/hop1') : url === '/hop4' && server.files.has('/hop4') ? undefined : to(`/hop${Number(url.slice(4)) + 1}`));
      await expect(start({ followRedirects: true }).transfer.fetchBytes(wanted)).rejects.toMatchObject({ message: expect.stringContaining('more than 4 redirects') as string });
      server.files.set('/hop4', object);
      await expect(start({ followRedirects: true }).transfer.fetchBytes(wanted)).resolves.toMatchObject({ info: { url: `${server.url}/hop4` } });
    });

    it.each(['file:///etc/passwd', 'https://127.0.0.1/', 'http://user:geheim@127.0.0.1/', 'http://['])('to %s are never followed', async (location) => {
      server.behave = () => to(location);
      const failure: unknown = await start({ followRedirects: true }).transfer.fetchBytes(wanted).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'NETWORK' });
      expect((failure as Error).message).not.toContain('geheim');
    });
  });

  describe('secrets', () => {
    it('reach the proxy and nobody else', async () => {
      const proxy = await startProxyServer({ credentials: 'user:geh/eim' });
      const { transfer, log } = start({ proxies: [[`http://user:geh%2Feim@127.0.0.1:${proxy.port}`]] });
      const shown: string[] = [];
      const tell = (error: unknown): void => {
        for (let at = error; at instanceof Error; at = at.cause) shown.push(at.message, at.stack ?? '', JSON.stringify(at));
      };
      try {
        const { info } = await transfer.fetchBytes(wanted);
        shown.push(JSON.stringify(info));
        expect(server.requests[0]!.headers['proxy-authorization']).toBeUndefined();
        proxy.behave = () => 'reset';
        await transfer.fetchBytes(wanted).catch(tell);
        proxy.behave = () => ({ status: 407, headers: {}, body: Buffer.alloc(0) });
        await transfer.fetchBytes(wanted).catch(tell);
        shown.push(JSON.stringify(transfer.status()), ...log);
      } finally {
        await transfer.close();
        await proxy.close();
      }
      expect(shown.join('\n')).toContain(proxy.url);
      expect(shown.join('\n')).not.toMatch(/geh|user:|dXNlcj/);
    });

    it('in a server URL are refused without being shown', () => {
      expect(() => createTransfer({ servers: ['http://user:geheim@s1/'] }, { clock: { now: () => 0, sleep: async () => undefined }, random: () => 0, log: () => undefined })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('geheim') as string }),
      );
    });
  });

  it('tunnels https through a proxy, with credentials for the proxy alone', async () => {
    const proxy = await startProxyServer({ credentials: 'user:geheim' });
    const { transfer } = start({ servers: [`https://127.0.0.1:${server.port}/r`], proxies: [[`http://user:geheim@127.0.0.1:${proxy.port}`]] });
    // The server speaks no TLS: the way to it is what is looked at.
    await expect(transfer.fetchBytes(wanted)).rejects.toMatchObject({ code: 'NETWORK', message: expect.not.stringContaining('geheim') as string });
    expect(proxy.requests[0]).toBe(`CONNECT 127.0.0.1:${server.port}`);
    await transfer.close();
    await proxy.close();
  });

  it('cancels what is under way when it is closed, and takes nothing more', async () => {
    server.behave = () => ({ kind: 'hang' });
    const { transfer } = start({ timeoutDirectMs: 10_000 });
    const fetching = expect(transfer.fetchBytes(wanted)).rejects.toMatchObject({ code: 'CANCELLED' });
    await turns(() => server.requests.length === 1);
    await transfer.close();
    await fetching;
    await expect(transfer.fetchBytes(wanted)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('sends the path in the repository where that is wanted', async () => {
    await start({ infoHeader: true }).transfer.fetchBytes({ ...wanted, info: '/dir/a file' });
    await start().transfer.fetchBytes({ ...wanted, info: '/dir/a file' });
    expect(server.requests.map(({ headers }) => headers['cvmfs-info'])).toEqual(['dir/a%20file', undefined]);
  });
});
