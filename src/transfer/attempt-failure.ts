/**
 * What went wrong with one attempt and whose fault it is (spec 6.5). It never leaves this room: after the last attempt it
 * becomes one line of the `Failure`.
 *
 *   resolve      the name has no address
 *   connection   refused, reset, empty reply, TLS; also 429, and 503 that names a time to come back
 *   too-slow     no connection, no answer, or less than the low speed limit, for the whole timeout
 *   short        the body ended before its announced length
 *   http         any other status
 *   missing      404 or 410
 *   corrupt      the bytes are not what they should be
 *   too-big      there are more of them than the object may have: a portal's page in place of a small object, for one
 */
import type { IncomingHttpHeaders } from 'node:http';
import { StaleConnection } from './http-get';
import { printable } from './transfer-log';

export type FailureKind = 'resolve' | 'connection' | 'too-slow' | 'short' | 'http' | 'missing' | 'corrupt' | 'too-big';
export type Blame = 'host' | 'proxy';

export class AttemptFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    readonly blame: Blame,
    message: string,
    /** What the other side asked us to wait before the next try. */
    readonly retryAfterMs?: number,
    /** True when a kept-alive connection was closed under the request before one byte of answer: nobody's fault. */
    readonly staleConnection = false,
  ) {
    super(message);
  }
}

/** The one value of a header; of a repeated one the first. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The failure that a status stands for; not asked about those that carry the object. */
export function statusFailure(status: number, headers: IncomingHttpHeaders, proxied: boolean, now: number): AttemptFailure {
  const squid = header(headers, 'x-squid-error');
  // A proxy that could not reach the server answers with a page of its own: without this the server would be blamed.
  const byProxy = proxied && (squid !== undefined || /(^|[;,\s])error=/i.test(header(headers, 'proxy-status') ?? ''));
  const text = `HTTP status ${status}${squid === undefined ? '' : ` (${printable(squid)})`}`;
  const retryAfterMs = parseRetryAfter(header(headers, 'retry-after'), now);
  const blame: Blame = byProxy ? 'proxy' : 'host';
  if (status === 429 || (status === 503 && retryAfterMs !== undefined)) return new AttemptFailure('connection', blame, text, retryAfterMs);
  if ((status === 404 || status === 410) && !byProxy) return new AttemptFailure('missing', 'host', text);
  if (status >= 300 && status < 400) return new AttemptFailure('http', 'host', `${text}, a redirect, which is not followed`);
  if (status === 400 || status === 404 || status === 410 || status >= 500) return new AttemptFailure('http', blame, text);
  // 401, 403, 407, … from a proxy are most often its own access rules.
  return new AttemptFailure('http', proxied ? 'proxy' : 'host', text);
}

/** Retry-After in seconds or as a date, as milliseconds from now; undefined when absent or nonsense. */
function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** The failure that an error of the HTTP client stands for; `answered` says whether the headers had come. */
export function errorFailure(error: unknown, proxied: boolean, answered: boolean): AttemptFailure {
  if (error instanceof AttemptFailure) return error;
  const blame: Blame = proxied ? 'proxy' : 'host';
  const { code, message, errors } = (typeof error === 'object' && error !== null ? error : {}) as { code?: string; message?: string; errors?: Error[] };
  // A name with several addresses fails with one error for each, and no message above them.
  const reason = message !== '' ? message : errors?.map((one) => one.message).join(', ');
  const text = printable([code, reason].filter((part) => part !== undefined && part !== '').join(': ') || String(error));
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_NODATA':
    case 'EAI_FAIL':
      return new AttemptFailure('resolve', blame, text);
    case 'ETIMEDOUT':
      return new AttemptFailure('too-slow', blame, text);
    default:
      if (answered) return new AttemptFailure('short', blame, `the body broke off: ${text}`);
      return new AttemptFailure('connection', blame, text, undefined, error instanceof StaleConnection);
  }
}
