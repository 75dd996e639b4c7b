/**
 * One attempt: one GET to one server by one way (spec 6.3), redirects of that server included, and the consumer run over
 * the body. Throws AttemptFailure for what another attempt may cure, and anything else for what it can not.
 */
import type { IncomingMessage } from 'node:http';
import { Failure } from '../error';
import { AttemptFailure, errorFailure, header, statusFailure } from './attempt-failure';
import { Body, tooBig } from './body';
import type { Clock } from './clock';
import type { Connection, Connections } from './connections';
import { httpGet } from './http-get';
import { escapePath } from './object-url';
import type { Place } from './retry-plan';
import { printable, type TransferLog } from './transfer-log';
import type { TransferOptions } from './transfer-options';
import type { Urgency } from './urgency';
import type { TransferInfo, TransferRequest } from './transfer-request';

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_LOCATION_CHARACTERS = 8_192;
/** An error page up to this is read to keep its connection; of a longer one the connection is closed. */
const MAX_PAGE_BYTES = 16 * 1024;
const PAGE_TIMEOUT_MS = 1_000;
/** A body up to this is collected before its consumer sees it; as many as are in flight are in memory at once. */
const SMALL_BODY_BYTES = 64 * 1024;

export interface AttemptWorld {
  readonly options: TransferOptions;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly log: TransferLog;
  /** Body bytes as they come, for the counters. */
  readonly count: (bytes: number) => void;
}

/** `whole`: the whole body, when it is small and has come already. Its connection may be somebody else's by then. */
export interface Received extends AsyncIterable<Buffer> {
  readonly whole?: Buffer;
}

export type Consume<T> = (body: Received, info: TransferInfo) => Promise<T>;

/** Runs the attempt in a slot of the place's connection. `choose` is asked again after the wait for one: the shared choice may have moved. */
export async function attempt<T>(world: AttemptWorld, request: TransferRequest, urgency: Urgency, choose: () => Place, began: (place: Place) => void, consume: Consume<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    const place = choose();
    const url = new URL(`${place.server}/${escapePath(request.path)}`);
    const connection = world.connections.to(url, place.proxy);
    const release = await connection.slots.acquire(urgency, signal);
    try {
      const now = choose();
      if (now.server !== place.server || now.proxy !== place.proxy) continue;
      began(place);
      const redirect = await exchange(world, request, place, url, connection, release, consume, signal);
      if (!('location' in redirect)) return redirect.result;
      release();
      return await follow(world, request, urgency, place, url, redirect.location, consume, signal);
    } finally {
      release();
    }
  }
}

type Exchanged<T> = { readonly result: T } | { readonly location: string };

async function follow<T>(world: AttemptWorld, request: TransferRequest, urgency: Urgency, place: Place, first: URL, firstLocation: string, consume: Consume<T>, signal: AbortSignal): Promise<T> {
  let from = first;
  let location = firstLocation;
  for (let hop = 0; hop < world.options.maxRedirects; hop++) {
    const url = redirectTarget(from, location);
    const connection = world.connections.to(url, place.proxy);
    const release = await connection.slots.acquire(urgency, signal);
    try {
      const answer = await exchange(world, request, place, url, connection, release, consume, signal);
      if (!('location' in answer)) return answer.result;
      from = url;
      location = answer.location;
    } finally {
      release();
    }
  }
  throw new AttemptFailure('http', 'host', `more than ${world.options.maxRedirects} redirects`);
}

function redirectTarget(from: URL, location: string): URL {
  const refused = (why: string): AttemptFailure => new AttemptFailure('http', 'host', `a redirect to "${printable(location.replace(/\/\/.*@/, '//[redacted]@'))}", which ${why}`);
  if (location.length > MAX_LOCATION_CHARACTERS) throw refused('is too long');
  if (!URL.canParse(location, from.href)) throw refused('is not a URL');
  const url = new URL(location, from);
  // Not from https to http, where anybody on the way could answer, and never to file: or the like.
  if (url.protocol !== from.protocol) throw refused('changes the scheme');
  if (url.username !== '' || url.password !== '') throw refused('carries credentials');
  url.hash = '';
  return url;
}

async function exchange<T>(world: AttemptWorld, request: TransferRequest, place: Place, url: URL, connection: Connection, release: () => void, consume: Consume<T>, signal: AbortSignal): Promise<Exchanged<T>> {
  const proxied = place.proxy.origin !== undefined;
  const target = connection.target(url);
  const headersSent = { ...requestHeaders(world.options, request, place), ...target.headers };
  let response: IncomingMessage;
  const askedAt = world.clock.now();
  try {
    response = await httpGet({ ...target, headers: headersSent }, signal, timeoutMs(world.options, proxied));
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const { code } = error as NodeJS.ErrnoException;
    // Our own shortage: no other server would help, and none is to blame.
    if (code === 'EMFILE' || code === 'ENFILE') throw new Failure('RESOURCE_EXHAUSTED', `${printable(request.path)}: no file descriptor is left for a connection (${code})`, { next: 'raise the limit of open files' });
    throw errorFailure(error, proxied, false);
  }
  connection.pace.answered(world.clock.now() - askedAt);
  const { statusCode = 0, headers } = response;
  const location = header(headers, 'location');
  if (world.options.followRedirects && REDIRECTS.includes(statusCode) && location !== undefined) {
    await discard(response);
    return { location };
  }
  // 203 is a 200 that a proxy says to have changed; the hash will tell. Other 2xx have no whole object in them.
  const expected = request.range === undefined ? statusCode === 200 || statusCode === 203 : statusCode === 206;
  if (!expected) {
    await discard(response);
    throw statusFailure(statusCode, headers, proxied, world.clock.now());
  }
  return { result: await receive(world, request, place, url, response, release, consume, signal) };
}

/** To connect, then to the first byte, then without reaching the low speed limit. */
function timeoutMs(options: TransferOptions, proxied: boolean): number {
  return proxied ? options.timeoutMs : options.timeoutDirectMs;
}

function requestHeaders(options: TransferOptions, request: TransferRequest, place: Place): Record<string, string> {
  return {
    'user-agent': options.userAgent,
    ...(place.noCache ? { pragma: 'no-cache', 'cache-control': 'no-cache' } : {}),
    ...(request.range === undefined ? {} : { range: `bytes=${request.range.offset}-${request.range.offset + request.range.length - 1}` }),
    ...(options.infoHeader && request.info !== undefined ? { 'cvmfs-info': escapePath(request.info) } : {}),
  };
}

async function receive<T>(world: AttemptWorld, request: TransferRequest, place: Place, url: URL, response: IncomingMessage, release: () => void, consume: Consume<T>, signal: AbortSignal): Promise<T> {
  const { headers } = response;
  const proxied = place.proxy.origin !== undefined;
  const name = printable(request.path);
  const length = header(headers, 'content-length');
  const contentLength = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
  const body = new Body(response, {
    maxBytes: request.maxBytes,
    contentLength,
    rangeLength: request.range?.length,
    timeoutMs: timeoutMs(world.options, proxied),
    lowSpeedLimitBytesPerSecond: world.options.lowSpeedLimitBytesPerSecond,
    proxied,
    signal,
  });
  const contentType = header(headers, 'content-type');
  try {
    // Objects are what they are: whoever encodes them once more on the way has changed them.
    const encoding = header(headers, 'content-encoding');
    if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') throw new AttemptFailure('corrupt', 'host', `Content-Encoding "${printable(encoding)}", which was not asked for`);
    if (request.range !== undefined) checkRange(header(headers, 'content-range'), request.range.offset);
    if (contentLength !== undefined && contentLength > request.maxBytes) throw tooBig(request.maxBytes);
    const date = new Date(header(headers, 'date') ?? NaN);
    const info: TransferInfo = {
      url: url.href,
      server: place.server,
      proxy: place.proxy.label,
      ...(contentLength === undefined ? {} : { contentLength }),
      ...(Number.isNaN(date.getTime()) ? {} : { date }),
      ...(contentType === undefined ? {} : { contentType: printable(contentType) }),
    };
    let received: Received;
    if (contentLength !== undefined && contentLength <= SMALL_BODY_BYTES) {
      const whole = await body.collect();
      // What is done with it now needs no connection: the next request has it meanwhile.
      release();
      received = { whole, [Symbol.asyncIterator]: () => one(whole) };
    } else received = body.chunks();
    const result = await consume(received, info);
    if (body.fault !== undefined) throw body.fault;
    return result;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const fault = body.fault ?? error;
    const corrupt = ofConsumer(fault);
    if (corrupt instanceof AttemptFailure && (corrupt.kind === 'corrupt' || corrupt.kind === 'too-big')) {
      // The first bytes tell a captive portal's page from a damaged disk (spec 11.1).
      world.log('warn', 'an answer does not hold the object', {
        object: name,
        server: place.server,
        proxy: place.proxy.label,
        reason: corrupt.message,
        receivedBytes: body.received,
        contentType: contentType === undefined ? 'none' : printable(contentType),
        firstBytes: printable(body.head),
      });
    }
    throw corrupt;
  } finally {
    body.drop();
    world.count(body.received);
  }
}

/** What the consumer found wrong with the bytes, as a failure of the attempt: another place may have the right ones. */
function ofConsumer(fault: unknown): unknown {
  if (!(fault instanceof Failure)) return fault;
  if (fault.code === 'OBJECT_CORRUPT') return new AttemptFailure('corrupt', 'host', printable(fault.what));
  return fault.code === 'OBJECT_TOO_BIG' ? new AttemptFailure('too-big', 'host', printable(fault.what)) : fault;
}

function checkRange(contentRange: string | undefined, offset: number): void {
  const start = /^bytes (\d{1,16})-/.exec(contentRange ?? '')?.[1];
  if (start === undefined || Number(start) !== offset) throw new AttemptFailure('corrupt', 'host', `Content-Range "${printable(contentRange ?? 'none')}" in place of offset ${offset}`);
}

/** Reads a short page to its end, so that its connection can be used again; never for long. */
async function discard(page: IncomingMessage): Promise<void> {
  const timer = setTimeout(() => page.destroy(), PAGE_TIMEOUT_MS);
  let bytes = 0;
  try {
    for await (const chunk of page as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      // Leaving the loop closes the connection.
      if (bytes > MAX_PAGE_BYTES) break;
    }
  } catch {
    // The status has said already what matters.
  } finally {
    clearTimeout(timer);
  }
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
