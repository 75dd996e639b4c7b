import * as crypto from 'node:crypto';
import { startHttpServer, type TestHttpServer } from '../support/http-server';
import { startProxyServer, type TestProxyServer } from '../support/proxy-server';
import { expecting, sha1, startTransfer, type TestTransfer } from '../support/transfer';
import type { TransferSettings } from '../../src/transfer/transfer-options';

const object = crypto.randomBytes(50_000);
const bad = Buffer.from(object.map((byte, i) => (i === 9 ? byte ^ 1 : byte)));
const path = 'data/ab/cdef';
const url = `/r/${path}`;
const wanted = { path, maxBytes: 1e6 };
const sound = expecting(sha1(object));

describe('wrong and missing objects', () => {
  let servers: TestHttpServer[];
  let proxies: TestProxyServer[];
  let transfers: TestTransfer[];
  const start = (settings: TransferSettings): TestTransfer => {
    const started = startTransfer(settings);
    transfers.push(started);
    return started;
  };

  beforeEach(async () => {
    transfers = [];
    servers = [await startHttpServer(), await startHttpServer()];
    proxies = [await startProxyServer({ caches: true }), await startProxyServer({ caches: true })];
    for (const server of servers) server.files.set(url, object);
  });
  afterEach(async () => {
    for (const { transfer } of transfers) await transfer.close();
    for (const closer of [...servers, ...proxies]) await closer.close();
  });
  const bases = (): string[] => servers.map((server) => `${server.url}/r`);

  it('cures a corrupt object in a proxy by asking for a fresh one', async () => {
    proxies[0]!.cache.set(`${servers[0]!.url}${url}`, { status: 200, headers: { 'content-length': bad.length }, body: bad });
    const { transfer } = start({ servers: bases(), proxies: [[proxies[0]!.url]] });
    const { bytes, info } = await transfer.fetch(wanted, sound);
    expect(bytes.equals(object)).toBe(true);
    expect(info).toMatchObject({ server: bases()[0], proxy: proxies[0]!.url });
    expect(proxies[0]!.headers.map((headers) => [headers['cache-control'], headers.pragma])).toEqual([
      [undefined, undefined],
      ['no-cache', 'no-cache'],
    ]);
    expect(transfer.status().counters.corrupt).toBe(1);
  });

  it('goes through another proxy when one changes what it carries, and keeps it for all else', async () => {
    proxies[0]!.behave = (asked) => (asked.endsWith(path) ? { status: 200, headers: {}, body: bad } : undefined);
    const { transfer } = start({ servers: bases(), proxies: [[proxies[0]!.url], [proxies[1]!.url]] });
    expect((await transfer.fetch(wanted, sound)).info.proxy).toBe(proxies[1]!.url);
    expect(transfer.status()).toMatchObject({ proxy: proxies[0]!.url, server: bases()[0] });
  });

  it('goes to another server when one holds a corrupt object', async () => {
    servers[0]!.behave = () => ({ kind: 'corrupt' });
    const { transfer } = start({ servers: bases() });
    expect((await transfer.fetch(wanted, sound)).info.server).toBe(bases()[1]);
    expect(servers[0]!.count(url)).toBe(2);
  });

  it('fails naming everybody when all hold a corrupt object', async () => {
    for (const server of servers) server.behave = () => ({ kind: 'corrupt' });
    const { transfer } = start({ servers: bases(), proxies: [[proxies[0]!.url, proxies[1]!.url]] });
    const failure: unknown = await transfer.fetch(wanted, sound).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'OBJECT_CORRUPT', data: { object: path, servers: bases() } });
    for (const name of [path, ...bases(), ...proxies.map((proxy) => proxy.url)]) expect((failure as Error).message).toContain(name);
  });

  it('shows the first bytes and the type of an HTML page in place of an object, harmless to a terminal', async () => {
    const page = '<html>\u001b[31mPlease log in\r\nnext line';
    for (const server of servers) server.behave = () => ({ kind: 'body', body: page, headers: { 'content-type': 'text/html' } });
    const { transfer, log } = start({ servers: bases() });
    await expect(transfer.fetch(wanted, sound)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
    const line = log.find((text) => text.startsWith('warn an answer'))!;
    expect(line).toContain('text/html');
    expect(line).toContain('<html>\\\\x1b[31mPlease log in\\\\x0d\\\\x0anext line');
  });

  it('takes a body that somebody encoded for corrupt, and never asks for one', async () => {
    servers[0]!.behave = () => ({ kind: 'body', body: object, headers: { 'content-encoding': 'gzip' } });
    const { transfer } = start({ servers: bases() });
    expect((await transfer.fetch(wanted, sound)).info.server).toBe(bases()[1]);
    expect(servers[0]!.requests[0]!.headers['accept-encoding']).toBeUndefined();
  });

  it('finds an object behind a 404 that a proxy kept from before the publication', async () => {
    servers[0]!.files.delete(url);
    servers[1]!.files.delete(url);
    const { transfer } = start({ servers: bases(), proxies: [[proxies[0]!.url]] });
    await expect(transfer.fetch(wanted, sound)).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
    servers[0]!.files.set(url, object);
    servers[1]!.files.set(url, object);
    const { info } = await transfer.fetch(wanted, sound);
    // Still from the server that is current: the kept 404 was no reason to leave it.
    expect(info.server).toBe(transfer.status().server);
    expect(transfer.status().counters.serverFailovers).toBe(1);
  });

  it('says that an object is missing only after asking every server', async () => {
    for (const server of servers) server.files.clear();
    const { transfer } = start({ servers: bases() });
    const failure: unknown = await transfer.fetch(wanted, sound).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'OBJECT_MISSING', data: { servers: bases() } });
    expect((failure as Error).message).toMatch(/HTTP status 404/);
    expect(servers.map((server) => server.count(url))).toEqual([2, 1]);
  });

  it('does not say missing while a server is not to be had', async () => {
    servers[0]!.files.clear();
    servers[1]!.behave = () => ({ kind: 'status', status: 502 });
    const { transfer } = start({ servers: bases() });
    await expect(transfer.fetch(wanted, sound)).rejects.toMatchObject({ code: 'NETWORK' });
  });
});
