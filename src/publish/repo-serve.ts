/**
 * `repo serve`: a repository's storage over HTTP, as a stratum 0 web server would do it, for tests, demonstrations and a
 * host's own use. Static files, GET and HEAD, ranges; the repository is reachable under `/<fqrn>/…` and `/cvmfs/<fqrn>/…`.
 *
 * Only names that a repository can have are served: dot files at its root and objects. That is also why no path leads
 * out of the folder: a request is compared with these patterns, and never joined to a path before it fits.
 *
 * Headers are those of the stock server (spec 1.1): dot files `application/x-cvmfs`, to be kept 61 s by proxies; objects
 * `application/octet-stream`, three days; JSON 61 s. No ETag, no Last-Modified.
 */
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../error';
import { checkRepositoryName } from '../cvmfs/repository-name';
import { MANIFEST_NAME } from './revision-writer';
import { storageDirectory } from './storage';

export interface ServeOptions {
  readonly fqrn: string;
  readonly storage: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Gets one line per request: `$msec $status $bytes_sent $body_bytes_sent $request_time "$request" $request_length`. */
  readonly accessLog?: (line: string) => void;
  /** Unix milliseconds, for the log. */
  readonly now?: () => number;
  /** Connections at a time; more wait in the kernel's queue or are refused. Default 512. */
  readonly maxConnections?: number;
}

export interface RepositoryServer {
  readonly host: string;
  readonly port: number;
  /** `http://host:port/<fqrn>`: what clients are configured with. */
  readonly url: string;
  /** Lets requests that run finish, `graceMs` at most (default 5,000), and stops. */
  close(graceMs?: number): Promise<void>;
}

const DEFAULT_MAX_CONNECTIONS = 512;
const DEFAULT_GRACE_MS = 5000;
const REQUEST_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 60_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_LOGGED_URL = 1024;

const SERVED = [
  { pattern: /^\.cvmfs[A-Za-z0-9._-]{0,100}\.json$/, type: 'application/json', seconds: 61 },
  { pattern: /^\.cvmfs[A-Za-z0-9._-]{0,100}$/, type: 'application/x-cvmfs', seconds: 61 },
  { pattern: /^data\/[0-9a-f]{2}\/[0-9a-f]{38}(-rmd160|-shake128)?[A-Z]?$/, type: 'application/octet-stream', seconds: 259_200 },
] as const;

export async function serveRepository(options: ServeOptions): Promise<RepositoryServer> {
  const fqrn = checkRepositoryName(options.fqrn);
  const directory = path.resolve(storageDirectory(options.storage));
  if (!fs.existsSync(path.join(directory, MANIFEST_NAME))) {
    throw new Failure('NOT_FOUND', `there is no repository in ${directory}`, { next: 'make one with `repo create`' });
  }
  const host = options.host ?? '127.0.0.1';
  const server = http.createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: IDLE_TIMEOUT_MS },
    (request, response) => {
      if (options.accessLog !== undefined) logWhenDone(request, response, options.accessLog, options.now ?? Date.now);
      answer(directory, fqrn, request, response).catch((err: unknown) => {
        // Half an answer can only be broken off; the client sees a short transfer and asks again.
        if (response.headersSent) response.destroy();
        else refuse(response, 500, Failure.from(err).message);
      });
    },
  );
  server.maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (err) => reject(Failure.from(err, `cannot listen on ${host}:${options.port ?? 0}`)));
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return {
    host,
    port,
    url: `http://${shownHost}:${port}/${fqrn}`,
    close: async (graceMs = DEFAULT_GRACE_MS) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

async function answer(directory: string, fqrn: string, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return refuse(response, 405, 'only GET and HEAD are answered');
  }
  const name = requested(request.url ?? '/', fqrn);
  const kind = name === undefined ? undefined : SERVED.find(({ pattern }) => pattern.test(name));
  if (name === undefined || kind === undefined) return refuse(response, 404, 'not found');
  let handle: fs.promises.FileHandle;
  try {
    handle = await fs.promises.open(path.join(directory, name), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return refuse(response, 404, 'not found');
    throw err;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return refuse(response, 404, 'not found');
    response.setHeader('Content-Type', kind.type);
    response.setHeader('Cache-Control', `max-age=${kind.seconds}`);
    response.setHeader('Accept-Ranges', 'bytes');
    const range = rangeOf(request.headers.range, stat.size);
    if (range === 'none') {
      response.setHeader('Content-Range', `bytes */${stat.size}`);
      return refuse(response, 416, 'the file has no such range');
    }
    const { start, end } = range ?? { start: 0, end: stat.size };
    response.statusCode = range === undefined ? 200 : 206;
    response.setHeader('Content-Length', end - start);
    if (range !== undefined) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${stat.size}`);
    if (request.method === 'HEAD' || end === start) return void response.end();
    await pipeline(handle.createReadStream({ start, end: end - 1, autoClose: false }), response).catch((err: unknown) => {
      // A client that goes away in the middle is its own affair.
      if (!response.destroyed) throw err;
    });
  } finally {
    await handle.close();
  }
}

/** The name of a file in the storage, or undefined. */
function requested(url: string, fqrn: string): string | undefined {
  let name: string;
  try {
    name = decodeURIComponent(url.replace(/[?#].*$/s, ''));
  } catch {
    return undefined;
  }
  const prefix = [`/cvmfs/${fqrn}/`, `/${fqrn}/`].find((candidate) => name.startsWith(candidate));
  return prefix === undefined ? undefined : name.slice(prefix.length);
}

/** One range of bytes, end excluded; undefined: all of the file (also for headers that may be ignored). */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | 'none' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const last = Math.min(Number(match[2]), size);
    return last === 0 ? 'none' : { start: size - last, end: size };
  }
  const start = Number(match[1]);
  const end = match[2] === '' ? size : Math.min(Number(match[2]) + 1, size);
  if (start >= size) return 'none';
  return end <= start ? undefined : { start, end };
}

function refuse(response: http.ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(text) + 1);
  response.end(`${text}\n`);
}

function logWhenDone(request: http.IncomingMessage, response: http.ServerResponse, log: (line: string) => void, now: () => number): void {
  const began = process.hrtime.bigint();
  const { socket } = request;
  const sentBefore = socket.bytesWritten;
  const requestLine = `${request.method} ${request.url} HTTP/${request.httpVersion}`;
  // The head as it came; the parser has taken the blanks and line ends away.
  const requestBytes = requestLine.length + 4 + request.rawHeaders.reduce((sum, text) => sum + text.length + 2, 0);
  response.once('close', () => {
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    const sent = socket.bytesWritten - sentBefore;
    const length = Number(response.getHeader('Content-Length') ?? 0);
    const body = request.method === 'HEAD' || !response.headersSent ? 0 : Math.min(length, sent);
    const shown = requestLine.slice(0, MAX_LOGGED_URL).replace(/["\\\u0000-\u001f\u007f-\uffff]/g, '?');
    log(`${(now() / 1000).toFixed(3)} ${response.statusCode} ${sent} ${body} ${seconds.toFixed(3)} "${shown}" ${requestBytes}`);
  });
}
