/** A small forwarding HTTP proxy on loopback for tests: absolute-URI GETs, an optional cache that never asks again, CONNECT. */
import * as http from 'node:http';
import * as net from 'node:net';

export interface ProxyOptions {
  /** Keep every answer, errors too, for ever, unless the request says no-cache: the worst proxy of all. */
  readonly caches?: boolean;
  /** Demand this `user:password`. */
  readonly credentials?: string;
  /** Names that only the proxy can resolve: `name:port` to `127.0.0.1:port`. */
  readonly names?: ReadonlyMap<string, string>;
}

export interface CachedAnswer {
  readonly status: number;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer;
}

export interface TestProxyServer {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** URLs asked of the proxy, in order; `CONNECT host:port` for tunnels. */
  readonly requests: string[];
  readonly headers: http.IncomingHttpHeaders[];
  /** What the cache holds, by URL; put an answer here to poison it. */
  readonly cache: Map<string, CachedAnswer>;
  /** Asked before each request; an answer of its own, `hang` or `reset` in place of forwarding. */
  behave: (url: string) => CachedAnswer | 'hang' | 'reset' | undefined;
  readonly connections: { total: number; open: number; most: number };
  close(): Promise<void>;
}

export async function startProxyServer(options: ProxyOptions = {}): Promise<TestProxyServer> {
  const requests: string[] = [];
  const seenHeaders: http.IncomingHttpHeaders[] = [];
  const cache = new Map<string, CachedAnswer>();
  const sockets = new Set<net.Socket>();
  const connections = { total: 0, open: 0, most: 0 };
  const address = (host: string): [string, number] => {
    const [name, port] = (options.names?.get(host) ?? host).split(':');
    return [name!, Number(port ?? 80)];
  };
  const wanted = options.credentials === undefined ? undefined : `Basic ${Buffer.from(options.credentials).toString('base64')}`;
  const send = (response: http.ServerResponse, answer: CachedAnswer): void => void response.writeHead(answer.status, answer.headers).end(answer.body);

  function forward(url: URL, request: http.IncomingMessage, response: http.ServerResponse): void {
    const [host, port] = address(url.host);
    const headers = { ...request.headers };
    delete headers['proxy-authorization'];
    const upstream = http.request({ host, port, path: `${url.pathname}${url.search}`, headers: { ...headers, host: url.host }, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      if (!(options.caches ?? false)) {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on('error', () => response.destroy());
        return;
      }
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', () => response.destroy());
      answer.on('end', () => {
        const kept = { ...answer.headers };
        delete kept.connection;
        const held = { status: answer.statusCode ?? 502, headers: kept, body: Buffer.concat(chunks) };
        cache.set(url.href, held);
        send(response, held);
      });
    });
    upstream.on('error', (error) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(503, { 'x-squid-error': 'ERR_CONNECT_FAIL 111', 'content-type': 'text/html' }).end(`<html>${error.message}</html>`);
    });
    response.on('close', () => upstream.destroy());
    upstream.end();
  }

  const server = http.createServer((request, response) => {
    const url = request.url ?? '';
    requests.push(url);
    seenHeaders.push(request.headers);
    const how = self.behave(url);
    if (how === 'hang') return;
    if (how === 'reset') return void request.socket.destroy();
    if (how !== undefined) return send(response, how);
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
      return send(response, { status: 407, headers: { 'proxy-authenticate': 'Basic realm="test"' }, body: Buffer.from('who are you') });
    }
    if (!url.startsWith('http://')) return send(response, { status: 400, headers: { 'x-squid-error': 'ERR_INVALID_URL 0' }, body: Buffer.from('no absolute URL') });
    const held = cache.get(url);
    const fresh = request.headers['cache-control'] === 'no-cache' || request.headers.pragma === 'no-cache';
    if (held !== undefined && !fresh) return send(response, held);
    forward(new URL(url), request, response);
  });
  server.on('connect', (request, client: net.Socket) => {
    requests.push(`CONNECT ${request.url ?? ''}`);
    seenHeaders.push(request.headers);
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) return void client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const [host, port] = address(request.url ?? '');
    const upstream = net.connect(port, host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
    client.on('close', () => upstream.destroy());
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
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const port = (server.address() as net.AddressInfo).port;

  const self: TestProxyServer = {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    headers: seenHeaders,
    cache,
    behave: () => undefined,
    connections,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return self;
}
