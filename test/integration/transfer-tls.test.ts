import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as https from 'node:https';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { selfSigned } from '../support/certificate';
import { startProxyServer } from '../support/proxy-server';
import { startTransfer } from '../support/transfer';
import { typescriptExecArgv } from '../support/typescript-process';

const port = (server: net.Server): number => (server.address() as net.AddressInfo).port;
const listen = (server: net.Server): Promise<void> => new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

describe('https', () => {
  const asked = jest.fn();
  const identity = selfSigned();
  let server: https.Server;

  beforeEach(async () => {
    asked.mockClear();
    server = https.createServer(identity, (request, response) => {
      asked(request.url, request.headers.host);
      response.end('hello');
    });
    await listen(server);
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  /** A certificate is made to be trusted when a process starts. */
  async function fetchTrusting(proxy: string, times: number): Promise<string> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'transfer-tls-'));
    try {
      const file = path.join(directory, 'ca.pem');
      fs.writeFileSync(file, identity.cert);
      const child = [...typescriptExecArgv, path.join(__dirname, '../support/fetch-child.ts'), `https://127.0.0.1:${port(server)}/r`, proxy, 'o', String(times)];
      return (await promisify(execFile)(process.execPath, child, { env: { ...process.env, NODE_EXTRA_CA_CERTS: file } })).stdout;
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  }

  it('sends nothing to a server that nobody vouches for', async () => {
    const { transfer } = startTransfer({ servers: [`https://127.0.0.1:${port(server)}/r`], timeoutDirectMs: 10_000 });
    await expect(transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringMatching(/SELF_SIGNED|self-signed/) as string });
    expect(asked).not.toHaveBeenCalled();
    await transfer.close();
  });

  it('brings the object from a server that is trusted', async () => {
    await expect(fetchTrusting('DIRECT', 2)).resolves.toBe('hello');
    expect(asked.mock.calls).toEqual(Array(2).fill(['/r/o', `127.0.0.1:${port(server)}`]));
  });

  it('goes through a tunnel of a proxy, and uses the tunnel again', async () => {
    const proxy = await startProxyServer({ credentials: 'user:geheim' });
    await expect(fetchTrusting(`http://user:geheim@127.0.0.1:${proxy.port}`, 6)).resolves.toBe('hello');
    expect(asked).toHaveBeenCalledTimes(6);
    // A connection may still be on its way back when the next request looks for one, so two take turns.
    expect(proxy.connections.total).toBeLessThanOrEqual(2);
    expect(proxy.requests[0]).toBe(`CONNECT 127.0.0.1:${port(server)}`);
    await proxy.close();
  });

  it('blames the proxy that refuses to open a tunnel', async () => {
    const proxy = await startProxyServer({ credentials: 'user:geheim' });
    const { transfer } = startTransfer({ servers: [`https://127.0.0.1:${port(server)}/r`], proxies: [[proxy.url]] });
    await expect(transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('HTTP status 407') as string });
    await transfer.close();
    await proxy.close();
  });

  it.each(['a server that never shakes hands', 'a proxy that never opens the tunnel'])('gives up on %s, and leaves no connection behind', async (who) => {
    const open = new Set<net.Socket>();
    const mute = net.createServer((socket) => {
      open.add(socket.on('error', () => undefined).resume());
      socket.on('close', () => open.delete(socket));
    });
    await listen(mute);
    const here = `127.0.0.1:${port(mute)}`;
    const { transfer } = startTransfer(who.includes('proxy') ? { servers: ['https://127.0.0.1:9/r'], proxies: [[`http://${here}`]], timeoutMs: 100 } : { servers: [`https://${here}/r`], timeoutDirectMs: 100 });
    await expect(transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('no connection within 100 ms') as string });
    const controller = new AbortController();
    const cancelled = transfer.fetchBytes({ path: 'o', maxBytes: 10, signal: controller.signal });
    await new Promise<void>((resolve) => mute.once('connection', () => resolve()));
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    while (open.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await transfer.close();
    await new Promise((resolve) => mute.close(resolve));
  });
});
