/** A web server on loopback for tests: a directory or objects in memory, and every way in which a server can misbehave. */
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import * as path from 'node:path';

/** What the server does in place of a plain answer; `undefined` from `behave` means a plain answer. */
export type Behaviour =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: http.OutgoingHttpHeaders; readonly body?: string | Buffer }
  /** Another body with status 200. */
  | { readonly kind: 'body'; readonly body: Buffer | string; readonly headers?: http.OutgoingHttpHeaders }
  /** One bit of the middle byte is flipped. */
  | { readonly kind: 'corrupt' }
  /** The whole length is announced, this many bytes are sent, the connection is closed. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  | { readonly kind: 'delay'; readonly ms: number }
  /** The request is read, nothing is ever answered. */
  | { readonly kind: 'hang' }
  /** Headers and this many bytes, then nothing. */
  | { readonly kind: 'stall'; readonly bytes: number }
  /** The whole body, `bytes` at a time. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  /** The connection is closed without an answer. */
  | { readonly kind: 'reset' };

export interface SeenRequest {
  readonly method: string;
  /** As it stood in the request line. */
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
}

export interface TestHttpServer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** Objects in memory, by path with a leading slash; looked at before the directory. */
  readonly files: Map<string, Buffer>;
  /** Asked before each answer; set it to misbehave. */
  behave: (url: string, request: http.IncomingMessage) => Behaviour | undefined;
  readonly requests: SeenRequest[];
  /** Connections accepted since the start, and the most that were open at once. */
  readonly connections: { total: number; open: number; most: number };
  /** Requests for a path so far. */
  count(url: string): number;
  close(): Promise<void>;
}

/** Starts a server for `directory` (or for `files` alone) on a free port of 127.0.0.1, or on a given one. */
export async function startHttpServer(directory?: string, port = 0): Promise<TestHttpServer> {
  const files = new Map<string, Buffer>();
  const requests: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const connections = { total: 0, open: 0, most: 0 };

  function read(url: string): Buffer | undefined {
    const held = files.get(url);
    if (held !== undefined || directory === undefined) return held;
    const file = path.join(directory, path.normalize(decodeURIComponent(url.split('?')[0]!)));
    if (!file.startsWith(directory) || !fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return undefined;
    return fs.readFileSync(file);
  }

  function plain(request: http.IncomingMessage, response: http.ServerResponse, body: Buffer | undefined): void {
    if (body === undefined) {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<html>not here</html>');
      return;
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (range === null) {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length }).end(body);
      return;
    }
    const part = body.subarray(Number(range[1]), Number(range[2]) + 1);
    response.writeHead(206, { 'content-length': part.length, 'content-range': `bytes ${range[1]}-${Number(range[1]) + part.length - 1}/${body.length}` }).end(part);
  }

  function misbehave(how: Behaviour, request: http.IncomingMessage, response: http.ServerResponse, body: Buffer | undefined): void {
    const whole = body ?? Buffer.alloc(0);
    switch (how.kind) {
      case 'status':
        response.writeHead(how.status, how.headers).end(how.body);
        break;
      case 'body':
        response.writeHead(200, how.headers).end(how.body);
        break;
      case 'corrupt': {
        const bad = Buffer.from(whole);
        const middle = bad.length >> 1;
        bad[middle] = bad[middle]! ^ 1;
        plain(request, response, bad);
        break;
      }
      case 'truncate':
        response.writeHead(200, { 'content-length': whole.length });
        response.write(whole.subarray(0, how.bytes), () => request.socket.destroySoon());
        break;
      case 'delay': {
        const timer = setTimeout(() => {
          timers.delete(timer);
          plain(request, response, body);
        }, how.ms);
        timers.add(timer);
        break;
      }
      case 'hang':
        break;
      case 'stall':
        response.writeHead(200, { 'content-length': whole.length });
        response.write(whole.subarray(0, how.bytes));
        break;
      case 'drip': {
        response.writeHead(200, { 'content-length': whole.length });
        response.flushHeaders();
        let sent = 0;
        const timer = setInterval(() => {
          if (sent < whole.length && !response.destroyed) response.write(whole.subarray(sent, (sent += how.bytes)));
          else {
            clearInterval(timer);
            timers.delete(timer);
            response.end();
          }
        }, how.everyMs);
        timers.add(timer);
        break;
      }
      case 'reset':
        request.socket.destroy();
        break;
    }
  }

  const server = http.createServer((request, response) => {
    const url = request.url ?? '/';
    requests.push({ method: request.method ?? '', url, headers: request.headers });
    const how = self.behave(url, request);
    const body = read(url);
    if (how === undefined) plain(request, response, body);
    else misbehave(how, request, response, body);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    connections.total += 1;
    connections.open += 1;
    connections.most = Math.max(connections.most, connections.open);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      connections.open -= 1;
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const bound = (server.address() as AddressInfo).port;

  const self: TestHttpServer = {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    files,
    behave: () => undefined,
    requests,
    connections,
    count: (url) => requests.filter((request) => request.url === url).length,
    close: () =>
      new Promise((resolve) => {
        for (const timer of timers) clearInterval(timer);
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return self;
}

/** A port of 127.0.0.1 on which nobody listens. */
export async function closedPort(): Promise<number> {
  const server = await startHttpServer();
  await server.close();
  return server.port;
}
