import * as crypto from 'node:crypto';
import * as net from 'node:net';
import { closedPort, startHttpServer, type TestHttpServer } from '../support/http-server';
import { startProxyServer, type TestProxyServer } from '../support/proxy-server';
import { expecting, sha1, startTransfer, type TestTransfer } from '../support/transfer';
import type { TransferSettings } from '../../src/transfer/transfer-options';

const object = crypto.randomBytes(200_000);
const path = 'data/ab/cdef';
const url = '/r/data/ab/cdef';
const wanted = { path, maxBytes: 1e6 };

describe('fail-over', () => {
  const closers: Array<{ close(): Promise<void> }> = [];
  const server = async (): Promise<TestHttpServer> => {
    const started = await startHttpServer();
    started.files.set(url, object);
    closers.push(started);
    return started;
  };
  const proxy = async (options?: Parameters<typeof startProxyServer>[0]): Promise<TestProxyServer> => {
    const started = await startProxyServer(options);
    closers.push(started);
    return started;
  };
  const start = (settings: TransferSettings): TestTransfer => {
    const started = startTransfer(settings);
    closers.unshift(started.transfer);
    return started;
  };
  const dead = async (): Promise<string> => `http://127.0.0.1:${await closedPort()}`;

  afterEach(async () => {
    for (const closer of closers.splice(0)) await closer.close();
  });

  it('goes to the next server when one refuses connections, and stays there', async () => {
    const good = await server();
    const down = await dead();
    const { transfer } = start({ servers: [`${down}/r`, `${good.url}/r`] });
    const { bytes, info } = await transfer.fetchBytes(wanted);
    expect(bytes.equals(object)).toBe(true);
    expect(info).toMatchObject({ url: `${good.url}${url}`, server: `${good.url}/r`, proxy: 'DIRECT', contentLength: object.length, contentType: 'application/octet-stream' });
    expect(info.date).toBeInstanceOf(Date);
    expect(transfer.status().server).toBe(`${good.url}/r`);
    const before = transfer.status().counters.attempts;
    await transfer.fetchBytes(wanted);
    expect(transfer.status().counters.attempts).toBe(before + 1);
  });

  it('returns to the first server after the reset time', async () => {
    const [first, second] = [await server(), await server()];
    const { transfer, clock } = start({ servers: [`${first.url}/r`, `${second.url}/r`] });
    first.behave = () => ({ kind: 'status', status: 500 });
    await transfer.fetchBytes(wanted);
    first.behave = () => undefined;
    await transfer.fetchBytes(wanted);
    expect([first.count(url), second.count(url)]).toEqual([1, 2]);
    clock.advance(1_800_000);
    await transfer.fetchBytes(wanted);
    expect([first.count(url), second.count(url)]).toEqual([2, 2]);
  });

  it('uses up the proxies of a group, then the next group, and never goes direct unasked', async () => {
    const origin = await server();
    const backup = await proxy();
    const { transfer } = start({ servers: [`${origin.url}/r`], proxies: [[await dead(), await dead()], [backup.url]] });
    expect((await transfer.fetchBytes(wanted)).info.proxy).toBe(backup.url);
    expect(backup.requests).toEqual([`${origin.url}${url}`]);
    expect(transfer.status().proxy).toBe(backup.url);

    const { transfer: enclosed } = start({ servers: [`${origin.url}/r`], proxies: [[await dead()]] });
    await expect(enclosed.fetchBytes(wanted)).rejects.toMatchObject({ code: 'NETWORK' });
    expect(origin.count(url)).toBe(1);
  });

  it('goes direct when DIRECT is the last group', async () => {
    const origin = await server();
    const { transfer } = start({ servers: [`${origin.url}/r`], proxies: [[await dead()], ['DIRECT']] });
    expect((await transfer.fetchBytes(wanted)).info.proxy).toBe('DIRECT');
  });

  it('blames the proxy, not the server, for an error page that the proxy made', async () => {
    const origin = await server();
    const [bad, good] = [await proxy(), await proxy()];
    bad.behave = () => ({ status: 503, headers: { 'x-squid-error': 'ERR_CANNOT_FORWARD 0' }, body: Buffer.from('<html>') });
    const { transfer } = start({ servers: [`${origin.url}/r`, 'http://127.0.0.1:9/r'], proxies: [[bad.url], [good.url]] });
    await transfer.fetchBytes(wanted);
    expect(transfer.status()).toMatchObject({ server: `${origin.url}/r`, proxy: good.url });
  });

  it('sends names to the proxy that only the proxy can resolve, as absolute URLs with the right Host', async () => {
    const origin = await server();
    const only = await proxy({ names: new Map([['stratum.invalid', `127.0.0.1:${origin.port}`]]) });
    const { transfer } = start({ servers: ['http://stratum.invalid/r'], proxies: [[only.url]] });
    await transfer.fetchBytes(wanted);
    expect(only.requests).toEqual([`http://stratum.invalid${url}`]);
    expect(only.headers[0]!.host).toBe('stratum.invalid');
    expect(origin.requests[0]!.headers.host).toBe('stratum.invalid');
  });

  it('resolves a name and reaches the server behind it', async () => {
    const origin = await server();
    const { transfer } = start({ servers: [`http://localhost:${origin.port}/r`] });
    expect((await transfer.fetchBytes(wanted)).bytes.equals(object)).toBe(true);
  });

  it('says that a name does not resolve', async () => {
    const { transfer } = start({ servers: ['http://stratum.invalid/r'], timeoutDirectMs: 10_000 });
    await expect(transfer.fetchBytes(wanted)).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('stratum.invalid') as string });
  });

  it('ignores what the environment says about proxies', async () => {
    const origin = await server();
    const trap = await proxy();
    process.env['http_proxy'] = trap.url;
    try {
      const { transfer } = start({ servers: [`${origin.url}/r`] });
      await transfer.fetchBytes(wanted);
    } finally {
      delete process.env['http_proxy'];
    }
    expect(trap.requests).toEqual([]);
  });

  it('gives up on a server that accepts and never answers', async () => {
    const [hung, good] = [await server(), await server()];
    hung.behave = () => ({ kind: 'hang' });
    const { transfer } = start({ servers: [`${hung.url}/r`, `${good.url}/r`] });
    expect((await transfer.fetchBytes(wanted)).info.server).toBe(`${good.url}/r`);
    expect(hung.count(url)).toBe(2);
  });

  it('gives up on a proxy that accepts and never answers', async () => {
    const origin = await server();
    const [hung, good] = [await proxy(), await proxy()];
    hung.behave = () => 'hang';
    const { transfer } = start({ servers: [`${origin.url}/r`], proxies: [[hung.url], [good.url]] });
    expect((await transfer.fetchBytes(wanted)).info.proxy).toBe(good.url);
  });

  it.each([
    ['a drip below the low speed limit', { kind: 'drip', bytes: 20, everyMs: 50 }],
    ['a body that stops in the middle', { kind: 'stall', bytes: 1000 }],
    ['a body cut short', { kind: 'truncate', bytes: 1000 }],
    ['a connection closed without an answer', { kind: 'reset' }],
  ] as const)('goes to the next server after %s', async (_name, behaviour) => {
    const [bad, good] = [await server(), await server()];
    bad.behave = () => behaviour;
    const { transfer } = start({ servers: [`${bad.url}/r`, `${good.url}/r`] });
    const { bytes, info } = await transfer.fetch(wanted, expecting(sha1(object)));
    expect(bytes.equals(object)).toBe(true);
    expect(info.server).toBe(`${good.url}/r`);
    // A broken transfer is no corrupt object, although its consumer saw wrong bytes.
    expect(transfer.status().counters.corrupt).toBe(0);
  });

  it('goes to the next server when one does not speak HTTP', async () => {
    const babbler = net.createServer((socket) => socket.on('error', () => undefined).resume().end('SSH-2.0-OpenSSH\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => babbler.once('listening', resolve));
    closers.push({ close: () => new Promise((resolve) => babbler.close(() => resolve())) });
    const good = await server();
    const { transfer } = start({ servers: [`http://127.0.0.1:${(babbler.address() as net.AddressInfo).port}/r`, `${good.url}/r`] });
    expect((await transfer.fetchBytes(wanted)).info.server).toBe(`${good.url}/r`);
  });

  it('waits and repeats after 429, as long as Retry-After says', async () => {
    const busy = await server();
    busy.behave = () => (busy.count(url) === 1 ? { kind: 'status', status: 429, headers: { 'retry-after': '3' } } : undefined);
    const { transfer, clock } = start({ servers: [`${busy.url}/r`] });
    await transfer.fetchBytes(wanted);
    expect(clock.sleeps).toEqual([3_000]);
  });

  it('repeats at once when the server has closed a kept-alive connection under the request', async () => {
    const origin = await server();
    const { transfer, clock } = start({ servers: [`${origin.url}/r`], maxRetries: 0 });
    for (let i = 0; i < 5; i++) await transfer.fetchBytes(wanted);
    origin.behave = () => (origin.count(url) === 6 ? { kind: 'reset' } : undefined);
    await transfer.fetchBytes(wanted);
    expect(origin.count(url)).toBe(7);
    expect(clock.sleeps).toEqual([]);
  });

  it('moves one server on when many requests fail together', async () => {
    const servers = [await server(), await server(), await server(), await server()];
    servers[0]!.behave = () => ({ kind: 'status', status: 500 });
    const { transfer } = start({ servers: servers.map((one) => `${one.url}/r`), maxConnections: 16 });
    await Promise.all(Array.from({ length: 40 }, () => transfer.fetchBytes(wanted)));
    expect(transfer.status().server).toBe(`${servers[1]!.url}/r`);
    expect(servers.slice(2).map((one) => one.requests.length)).toEqual([0, 0]);
    // Those that waited for a connection went to the new server straight away; a few may have got one as the first failed.
    expect(servers[0]!.count(url)).toBeLessThan(24);
  });

  it('moves one proxy on when many requests fail together', async () => {
    const origin = await server();
    const proxies = [await proxy(), await proxy(), await proxy()];
    proxies[0]!.behave = () => 'reset';
    const { transfer } = start({ servers: [`${origin.url}/r`], proxies: proxies.map((one) => [one.url]) });
    await Promise.all(Array.from({ length: 40 }, () => transfer.fetchBytes(wanted)));
    expect(transfer.status().proxy).toBe(proxies[1]!.url);
    expect(proxies[2]!.requests).toEqual([]);
  });

  it('names the object and all who were asked when nobody delivers', async () => {
    const [down, broken] = [await dead(), await server()];
    broken.behave = () => ({ kind: 'status', status: 500 });
    const { transfer, clock, log } = start({ servers: [`${down}/r`, `${broken.url}/r`] });
    const failure = await transfer.fetchBytes(wanted).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'NETWORK', data: { object: path, servers: [`${down}/r`, `${broken.url}/r`], proxies: ['DIRECT'], attempts: 3 } });
    expect((failure as Error).message).toMatch(/data\/ab\/cdef: no server delivered it .*ECONNREFUSED.* \(2 times\); .*HTTP status 500/);
    expect(log.filter((line) => line.startsWith('error'))).toHaveLength(1);
    expect(clock.sleeps.at(-1)).toBe(32);
    expect(transfer.status().counters).toMatchObject({ requests: 1, failures: 1, retries: 1, serverFailovers: 1 });
  });

  describe('external files', () => {
    it('come from their own servers, in ranges', async () => {
      const [main, external] = [await server(), await server()];
      external.files.set('/e/dir/a%20file', object);
      const { transfer } = start({ servers: [`${main.url}/r`], externalServers: [`${external.url}/e/`] });
      const { bytes } = await transfer.fetchBytes({ path: 'dir/a file', maxBytes: 1e6, external: true, range: { offset: 1000, length: 500 } });
      expect(bytes.equals(object.subarray(1000, 1500))).toBe(true);
      expect(main.requests).toEqual([]);
    });

    it('are refused with the cure when no server for them is configured', async () => {
      const { transfer } = start({ servers: ['http://127.0.0.1:9/r'] });
      await expect(transfer.fetchBytes({ path: 'x', maxBytes: 1, external: true })).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('CVMFS_EXTERNAL_URL') as string });
    });

    it('fail when the answer is not the range that was asked for', async () => {
      const external = await server();
      external.behave = () => ({ kind: 'status', status: 206, headers: { 'content-range': 'bytes 0-499/200000' }, body: object.subarray(0, 500) });
      const { transfer } = start({ servers: [`${external.url}/r`], externalServers: [`${external.url}/r`] });
      await expect(transfer.fetchBytes({ ...wanted, external: true, range: { offset: 1000, length: 500 } })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
    });
  });
});
