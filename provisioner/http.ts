/**
 * The HTTP side for operators' tools: `/metrics` (Prometheus), `/healthz` (the process answers), `/readyz` (Provision would
 * be answered: 200, or 503 with what is missing). Nothing else, and nothing that changes anything.
 */
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Failure } from '../src/error';
import type { Metrics } from '../src/metrics/metrics';

export interface Readiness {
  readonly ready: boolean;
  /** What it waits for, a sentence each. */
  readonly reasons: readonly string[];
}

export interface HttpOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly metrics: Metrics;
  readonly readiness: () => Readiness;
  /** Brings figures of other processes up to date before a scrape. */
  readonly beforeScrape?: () => Promise<void>;
}

export interface HttpServer {
  /** `host:port` as it is listened on. */
  readonly address: string;
  stop(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

async function answer(request: http.IncomingMessage, { metrics, readiness, beforeScrape }: HttpOptions): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD');
  switch ((request.url ?? '').split('?', 1)[0]) {
    case '/metrics': {
      await beforeScrape?.();
      const { contentType, text: body } = await metrics.render();
      return { status: 200, type: contentType, body };
    }
    case '/healthz':
      return text(200, 'ok');
    case '/readyz': {
      const { ready, reasons } = readiness();
      return { status: ready ? 200 : 503, type: 'application/json', body: `${JSON.stringify({ ready, reasons })}\n` };
    }
    default:
      return text(404, 'not found; there are /metrics, /healthz and /readyz');
  }
}

export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const server = http.createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: 16 * 1024 }, (request, response) => {
    request.resume();
    answer(request, options)
      .catch((err: unknown) => text(500, Failure.from(err).message))
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
        response.end(request.method === 'HEAD' ? undefined : body);
      })
      .catch(() => response.destroy());
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (err) => reject(new Failure('SYSTEM', `http = "${options.host}:${options.port}" cannot be listened on: ${err.message}`, { next: 'choose another address for http', cause: err })));
    server.listen(options.port, options.host, resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  return {
    address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
