/** Servers and proxies that end connections in every way, and readers that come late: a library has died of that. */
import * as crypto from 'node:crypto';
import * as net from 'node:net';
import type { TransferSettings } from '../../src/transfer/transfer-options';
import { startHttpServer } from '../support/http-server';
import { startTransfer, type TestTransfer } from '../support/transfer';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await pause(5);
};
const small = crypto.randomBytes(1_000);
/** A little more than one read from a socket: the end of the connection then waits right behind a paused parser. */
const middling = crypto.randomBytes(80_000);
/** More than the kernel keeps for a reader that does not read. */
const large = crypto.randomBytes(24_000_000);

describe('connections', () => {
  const closers: Array<() => Promise<void>> = [];
  const start = (url: string, settings: Partial<TransferSettings> = {}): TestTransfer => {
    const started = startTransfer({ servers: [`${url}/r`], ...settings });
    closers.unshift(() => started.transfer.close());
    return started;
  };
  /** Each connection brings one request; `answer` writes what it likes, once the request has been read. */
  async function server(answer: (socket: net.Socket, count: number) => void): Promise<string> {
    const sockets = new Set<net.Socket>();
    let count = 0;
    const listening = net.createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      socket.on('data', () => answer(socket, ++count));
    });
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => listening.close(() => resolve()));
    });
    return `http://127.0.0.1:${(listening.address() as net.AddressInfo).port}`;
  }
  /** Begins to read after `lateMs`, then rests after each of the first chunks. */
  const late = (lateMs: number) => async (body: AsyncIterable<Buffer>): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    await pause(lateMs);
    for await (const chunk of body) {
      if (chunks.length < 5) await pause(20);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  };

  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  describe.each([
    ['HTTP/1.0, of announced length', (body: Buffer) => `HTTP/1.0 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`],
    ['HTTP/1.0, to the end of the connection', () => 'HTTP/1.0 200 OK\r\n\r\n'],
    ['HTTP/1.1 with Connection: close', (body: Buffer) => `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`],
    ['HTTP/1.1, closed without a word', (body: Buffer) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`],
  ])('that end after each body (%s)', (_name, head) => {
    it.each([
      ['small', small],
      ['middling', middling],
      ['large', large],
    ])('bring a %s one whole to a reader that comes late', async (_size, body) => {
      const url = await server((socket) => {
        socket.write(head(body));
        socket.end(body);
      });
      const { transfer } = start(url);
      const reading = Array.from({ length: 3 }, () => transfer.fetch({ path: 'o', maxBytes: large.length }, late(50)));
      for (const bytes of await Promise.all(reading)) expect(bytes.equals(body)).toBe(true);
      expect(transfer.status().counters).toMatchObject({ attempts: 3, retries: 0 });
    });
  });

  it.each([
    ['FIN', 'Content-Length: 24000000', (socket: net.Socket) => void socket.end()],
    ['RST', 'Content-Length: 24000000', (socket: net.Socket) => void socket.resetAndDestroy()],
    ['FIN', 'Transfer-Encoding: chunked', (socket: net.Socket) => void socket.end()],
  ])('cut by a %s in a body with "%s" are short transfers, not corrupt objects, for a late reader too', async (_how, header, cut) => {
    for (const part of [small, middling, large.subarray(0, 12_000_000)]) {
      const url = await server((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n${header.includes('chunked') ? '16e3600\r\n' : ''}`);
        socket.write(part, () => setTimeout(() => cut(socket), 20));
      });
      const { transfer } = start(url, { maxRetries: 0 });
      // Its length, since jest would print twelve million numbers of a body that came although it should not.
      const fetched = transfer.fetch({ path: 'o', maxBytes: large.length }, late(50)).then((body) => body.length);
      await expect(fetched).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('broke off') as string });
      expect(transfer.status().counters).toMatchObject({ attempts: 1, corrupt: 0 });
    }
  });

  it('cut by a RST in a body that has no other end than that of the connection are short too', async () => {
    let cut = (): void => undefined;
    const url = await server((socket) => {
      cut = () => void socket.resetAndDestroy();
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
      socket.write(small);
    });
    const { transfer } = start(url, { maxRetries: 0 });
    // Reset once its bytes are read: libuv tells one that comes together with the last bytes as an orderly end, and then
    // only the hash of what was fetched can tell.
    const fetched = transfer.fetch({ path: 'o', maxBytes: large.length }, async (body) => {
      let bytes = 0;
      for await (const chunk of body) {
        bytes += chunk.length;
        if (bytes === small.length) cut();
      }
      return bytes;
    });
    await expect(fetched).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('broke off') as string });
    expect(transfer.status().counters).toMatchObject({ attempts: 1, corrupt: 0 });
  });

  it('are held back by a slow reader, however long the body', async () => {
    const total = 200_000_000;
    const piece = Buffer.alloc(1_000_000);
    let pushed = 0;
    const url = await server((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      // The next piece only when the kernel has taken the one before.
      const next = (): void => {
        if (pushed === total) return;
        pushed += piece.length;
        socket.write(piece, (error) => error ?? next());
      };
      next();
    });
    const { transfer } = start(url, { timeoutDirectMs: 10_000 });
    let ahead = 0;
    const received = await transfer.fetch({ path: 'o', maxBytes: total }, async (body) => {
      let bytes = 0;
      for await (const chunk of body) {
        if (bytes === 0) {
          for (let before = -1; before !== pushed; ) {
            before = pushed;
            await pause(100);
          }
          ahead = pushed;
        }
        bytes += chunk.length;
      }
      return bytes;
    });
    expect(received).toBe(total);
    expect(ahead).toBeLessThan(20_000_000);
  });

  it('say which of connection and answer did not come', async () => {
    const url = await server(() => undefined);
    await expect(start(url, { timeoutDirectMs: 100 }).transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK', message: expect.stringContaining('no answer within 100 ms') as string });
  });

  it.each([
    ['changes the protocol', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc'],
    ['says more than headers may be', `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(20_000)}\r\nContent-Length: 0\r\n\r\n`],
    ['says no HTTP', 'hello?\r\n\r\n'],
    ['announces two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
  ])('fail when the server %s', async (_what, text) => {
    const url = await server((socket) => void socket.end(text));
    await expect(start(url).transfer.fetchBytes({ path: 'o', maxBytes: 10 })).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it('do not take what came unasked for the next answer', async () => {
    const url = await server((socket, count) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${count}`, () => setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX'), 20));
    });
    const { transfer } = start(url);
    for (const expected of ['1', '2', '3']) {
      const { bytes } = await transfer.fetchBytes({ path: 'o', maxBytes: 10 });
      expect(bytes.toString()).toBe(expected);
      await pause(50);
    }
  });

  it('survive a reset while nobody uses them', async () => {
    const url = await server((socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1', () => setTimeout(() => socket.resetAndDestroy(), 5)));
    const { transfer } = start(url);
    for (let i = 0; i < 5; i++) {
      await transfer.fetchBytes({ path: 'o', maxBytes: 10 });
      await pause(i * 5);
    }
    expect(transfer.status().counters.failures).toBe(0);
  });

  it('ask for no encoding, and end when the transfer is closed', async () => {
    const origin = await startHttpServer();
    closers.push(() => origin.close());
    origin.files.set('/r/o', small);
    const { transfer } = start(origin.url);
    await Promise.all(Array.from({ length: 10 }, () => transfer.fetchBytes({ path: 'o', maxBytes: 1_000 })));
    expect(origin.requests.every(({ headers }) => headers['accept-encoding'] === undefined)).toBe(true);
    expect(origin.connections.open).toBeGreaterThan(0);
    await transfer.close();
    await until(() => origin.connections.open === 0);
  });
});
