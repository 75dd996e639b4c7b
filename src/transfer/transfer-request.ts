/** What is asked for, and what is known about an answer while its body arrives. */
import { Failure } from '../error';
import { escapePath } from './object-url';
import { printable } from './transfer-log';
import type { Urgency } from './urgency';

export interface TransferRequest {
  /** Relative to the server's base URL, unescaped: `data/ab/cd…`, `.cvmfspublished`. Bytes where it is not UTF-8. */
  readonly path: string | Buffer;
  /** Longest body that is accepted; OBJECT_TOO_BIG beyond. */
  readonly maxBytes: number;
  /** Ask caches on the way for a fresh answer. */
  readonly noCache?: boolean;
  /** Nobody waits for it: demanded requests go before it. */
  readonly background?: boolean;
  /** In place of `background`, where that may change while the request is under way. */
  readonly urgency?: Urgency;
  readonly signal?: AbortSignal;
  /** Total, from now, queue and back-offs included; else `totalTimeoutMs` of the options. */
  readonly deadlineMs?: number;
  readonly range?: { readonly offset: number; readonly length: number };
  /** Ask the servers of external files. */
  readonly external?: boolean;
  /** Path in the repository that it is for, sent where `infoHeader` is on. */
  readonly info?: string | Buffer;
}

export interface TransferInfo {
  readonly url: string;
  readonly server: string;
  /** Without credentials, or `DIRECT`. */
  readonly proxy: string;
  readonly contentLength?: number;
  /** The sender's clock. */
  readonly date?: Date;
  /** Escaped for logs. */
  readonly contentType?: string;
}

/** Refuses what would make a limit no limit (NaN compares as neither more nor less). Throws INVALID_ARGUMENT. */
export function checkRequest({ path, maxBytes, range, deadlineMs }: TransferRequest): void {
  escapePath(path);
  const count = (value: number, least: number): boolean => Number.isSafeInteger(value) && value >= least;
  const refuse = (what: string): Failure => new Failure('INVALID_ARGUMENT', `${printable(path)} can not be fetched with ${what}`);
  if (!count(maxBytes, 0)) throw refuse(`maxBytes ${maxBytes}`);
  if (range !== undefined && !(count(range.offset, 0) && count(range.length, 1) && count(range.offset + range.length, 1))) throw refuse(`range ${range.offset}+${range.length}`);
  if (deadlineMs !== undefined && !(deadlineMs > 0)) throw refuse(`deadlineMs ${deadlineMs}`);
}
