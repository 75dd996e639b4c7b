/**
 * The listener of the facade: `/v2/` of the docker registry protocol, for reading, and nothing else. HTTP/1.1 with a
 * Content-Length on every answer and without redirects, since an agent misreads everything else (docs/facade.md).
 *
 * Every local process and every container on the host network can reach it: connections, headers and times are limited, a
 * body is never read, and no answer says anything that is not in a configured repository.
 */
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../../src/error';
import type { Logger } from '../../src/log/logger';
import { requestId } from '../../src/log/logger';
import type { Answer } from './answer';
import { errorAnswer, failureAnswer, json } from './answer';
import type { FacadeMetrics } from './metrics';
import type { RegistryRequest } from './names';
import { parseRegistryPath } from './names';
import type { RegistryCredentials } from './secret';
import { admitted } from './secret';

export interface Asked extends RegistryRequest {
  /** Of the requester, for a fallback registry. */
  readonly credentials?: RegistryCredentials;
  /** Aborted when the answer is late, or nobody waits for it. */
  readonly signal: AbortSignal;
  /** Aborted before that, in time for an answer that says what was waited for in vain. */
  readonly soon: AbortSignal;
  readonly logger: Logger;
}

/** What answers: an answer, and what kind of thing it was for the metrics. */
export type Answerer = (asked: Asked) => Promise<{ readonly answer: Answer; readonly kind: string }>;

export interface FacadeServerOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** Undefined: everybody is let in. */
  readonly secret: string | undefined;
  readonly answer: Answerer;
  readonly logger: Logger;
  readonly metrics: FacadeMetrics;
  readonly nowMs: () => number;
  /** After this an image's manifest is given up, well before the agent gives up (60 s). */
  readonly manifestMs: number;
  /** From the answer's first byte to its last; blobs of a fallback registry have a limit of their own. */
  readonly sendMs: number;
}

export interface FacadeServer {
  /** `host:port` as it is listened on. */
  readonly address: string;
  stop(): Promise<void>;
}

/** Share of the time after which `soon` is aborted. */
const SOON = 0.9;
const FAILURES_TOLD = 100;
const FAILURES_EVERY_MS = 60_000;
const CONNECTIONS_MAX = 512;
const HEADERS_MS = 10_000;
/** A name of 4096 bytes, each percent-encoded, and credentials. */
const HEADER_BYTES_MAX = 32 * 1024;
const COMMON: Readonly<Record<string, string>> = { 'docker-distribution-api-version': 'registry/2.0', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

function refusal(request: http.IncomingMessage, secret: string | undefined): Answer | { readonly credentials?: RegistryCredentials } {
  if (request.method !== 'GET' && request.method !== 'HEAD') return errorAnswer(405, 'UNSUPPORTED', 'images are read here and never written', undefined, { allow: 'GET, HEAD' });
  const path = (request.url ?? '').split('?', 1)[0]!;
  if (path !== '/v2' && !path.startsWith('/v2/')) return errorAnswer(404, 'NOT_FOUND', 'there is nothing but /v2/');
  if (secret === undefined) return {};
  const who = admitted(request.headers.authorization, secret);
  return who ?? errorAnswer(401, 'UNAUTHORIZED', 'the secret of the facade is missing or wrong; give the agent the --docker_config that mesos-cvmfs agent flags prints', undefined, { 'www-authenticate': 'Basic realm="mesos-cvmfs"' });
}

/** How many failures are told in the log: whoever reaches the port could fill the disk with them. */
class FailureLog {
  #untilMs = 0;
  #left = 0;

  constructor(private readonly nowMs: () => number) {}

  write(logger: Logger, failure: Failure, path: string): void {
    const now = this.nowMs();
    if (now >= this.#untilMs) [this.#untilMs, this.#left] = [now + FAILURES_EVERY_MS, FAILURES_TOLD];
    if (--this.#left < 0) return;
    const level = failure.httpStatus === 500 ? 'error' : 'info';
    logger[level]('a request of an agent failed', { path: path.slice(0, 300), code: failure.code, status: failure.httpStatus, reason: failure.message.slice(0, 1000) });
    if (this.#left === 0) logger.warn('more requests of agents fail than are told here; the metric facade_requests_total counts all', { forMs: this.#untilMs - now });
  }
}

async function answerTo(request: http.IncomingMessage, options: FacadeServerOptions, signals: Pick<Asked, 'signal' | 'soon'>, logger: Logger, failures: FailureLog): Promise<{ answer: Answer; kind: string }> {
  const who = refusal(request, options.secret);
  if ('status' in who) return { answer: who, kind: 'other' };
  const path = (request.url ?? '').split('?', 1)[0]!;
  if (path === '/v2/' || path === '/v2') return { answer: json(200, {}), kind: 'other' };
  let kind: 'manifest' | 'blob' | undefined;
  try {
    const parsed = parseRegistryPath(path);
    kind = parsed?.kind;
    if (parsed === undefined) return { answer: errorAnswer(404, 'UNSUPPORTED', 'only manifests and blobs are served'), kind: 'other' };
    return await options.answer({ ...parsed, ...who, ...signals, logger });
  } catch (err) {
    const failure = Failure.from(err);
    failures.write(logger, failure, path);
    return { answer: failureAnswer(failure, kind), kind: kind ?? 'other' };
  }
}

async function send(response: http.ServerResponse, answer: Answer, head: boolean): Promise<void> {
  const { status, headers, body } = answer;
  const length = Buffer.isBuffer(body) ? { 'content-length': String(body.length) } : {};
  response.writeHead(status, { ...COMMON, ...headers, ...length });
  if (Buffer.isBuffer(body)) response.end(head ? undefined : body);
  else if (head) {
    body.destroy();
    response.end();
  } else await pipeline(body, response);
}

/** FAILED_PRECONDITION or SYSTEM when it cannot be listened on. */
export async function startFacadeServer(options: FacadeServerOptions): Promise<FacadeServer> {
  const { metrics, logger, nowMs } = options;
  const failures = new FailureLog(nowMs);
  const server = http.createServer({ requestTimeout: HEADERS_MS, headersTimeout: HEADERS_MS, keepAliveTimeout: 5_000, maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
    const begin = nowMs();
    request.resume();
    const own = logger.child({ request: requestId() });
    const [abort, soon] = [new AbortController(), new AbortController()];
    const lateAfter = (ms: number, which: AbortController): NodeJS.Timeout =>
      setTimeout(() => which.abort(new Failure('DEADLINE_EXCEEDED', `the image was not ready within ${ms / 1000} s`, { next: 'start the container again' })), ms);
    const timers = [lateAfter(options.manifestMs, abort), lateAfter(options.manifestMs * SOON, soon)];
    response.once('close', () => {
      for (const one of [abort, soon]) one.abort(new Failure('CANCELLED', 'the agent gave up'));
    });
    void (async () => {
      const { answer, kind } = await answerTo(request, options, { signal: abort.signal, soon: soon.signal }, own, failures);
      timers.forEach(clearTimeout);
      if (Buffer.isBuffer(answer.body)) {
        const stall = setTimeout(() => response.destroy(), options.sendMs).unref();
        response.once('close', () => clearTimeout(stall));
      }
      try {
        await send(response, answer, request.method === 'HEAD');
      } catch (err) {
        own.info('an answer broke off', { kind, err: Failure.from(err) });
        response.destroy();
      } finally {
        metrics.requests.inc({ kind, status: String(answer.status) });
        metrics.requestSeconds.observe((nowMs() - begin) / 1000, { kind });
      }
    })().catch(() => response.destroy());
  });
  // No line in the log either: anybody could write there.
  server.on('clientError', (err: NodeJS.ErrnoException, socket) => {
    const status = err.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
    else socket.destroy();
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (err) => reject(new Failure('SYSTEM', `facade.listen = "${options.host}:${options.port}" cannot be listened on: ${err.message}`, { next: 'choose another address for facade.listen', cause: err })));
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
