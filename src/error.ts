/**
 * The one error family. Every failure that leaves a room is a `Failure` with a stable code; a code stands for what went
 * wrong and what the other side may do about it, and `CODES` is the only table that turns it into a gRPC status, an
 * errno for a reader of a mount, the exit code of the command line, and a status of the registry facade (docs/errors.md is
 * written from it).
 */
import { types } from 'node:util';

interface CodeRow {
  /** gRPC status number (google.rpc.Code). */
  readonly grpc: number;
  /** What a system call on a mount answers, positive Linux number. */
  readonly errno: number;
  /** Exit code of the command line. */
  readonly exit: number;
  /** HTTP status of the registry facade; an agent shows its user this line and nothing else. */
  readonly http: number;
}

const INVALID = { grpc: 3, errno: 22, exit: 2, http: 400 } as const;
const REFUSED_TRUST = { grpc: 9, errno: 5, exit: 5, http: 502 } as const;
const BAD_DATA = { grpc: 15, errno: 5, exit: 6, http: 502 } as const;
const UNREACHABLE = { grpc: 14, errno: 5, exit: 7, http: 503 } as const;

export const CODES = {
  /** What was asked for is not well formed: a reference, an id, a flag, a request message. */
  INVALID_ARGUMENT: INVALID,
  /** A configuration file or parameter is wrong; nothing was started. */
  CONFIG_INVALID: { grpc: 9, errno: 22, exit: 3, http: 500 },
  /** The thing does not exist: image, path, tag, container, mount. */
  NOT_FOUND: { grpc: 5, errno: 2, exit: 4, http: 404 },
  /** It exists already and may not be made twice. */
  ALREADY_EXISTS: { grpc: 6, errno: 17, exit: 8, http: 409 },
  /** Understood, and not offered. */
  UNIMPLEMENTED: { grpc: 12, errno: 38, exit: 9, http: 501 },
  /** The state of things forbids it; the message says which state and the cure. */
  FAILED_PRECONDITION: { grpc: 9, errno: 16, exit: 8, http: 412 },
  /** The caller, or the owner of a file, is not who it should be. */
  PERMISSION_DENIED: { grpc: 7, errno: 13, exit: 10, http: 403 },
  /** A limit of ours was reached: request size, queue length, cache size. */
  RESOURCE_EXHAUSTED: { grpc: 8, errno: 12, exit: 11, http: 429 },
  /** A disk, or the cache's share of it, is full of what may not be dropped. */
  NO_SPACE: { grpc: 8, errno: 28, exit: 11, http: 507 },
  /** A symbolic link walk took too many steps. */
  LINK_LOOP: { grpc: 9, errno: 40, exit: 4, http: 404 },
  /** A path leads through, or to, something that is no directory. */
  NOT_A_DIRECTORY: { grpc: 9, errno: 20, exit: 4, http: 404 },
  /** The caller's deadline passed. */
  DEADLINE_EXCEEDED: { grpc: 4, errno: 110, exit: 12, http: 504 },
  /** The caller gave up, or what it waited for was called off. */
  CANCELLED: { grpc: 1, errno: 4, exit: 12, http: 503 },

  // Trust chain, by the file that failed (spec: trust chain).

  /** The whitelist is missing, malformed, of another repository, or not signed by a master key that is trusted. */
  WHITELIST_INVALID: REFUSED_TRUST,
  /** The whitelist's time is over; its publisher must sign a new one. */
  WHITELIST_EXPIRED: REFUSED_TRUST,
  /** The manifest is missing, malformed, of another repository, or its signature is wrong. */
  MANIFEST_INVALID: REFUSED_TRUST,
  /** The manifest is older than one that was accepted before. */
  MANIFEST_OUTDATED: REFUSED_TRUST,
  /** The certificate is malformed, or not among those that the whitelist names. */
  CERTIFICATE_INVALID: REFUSED_TRUST,
  /** A blacklist names the certificate or the revision. */
  BLACKLISTED: REFUSED_TRUST,
  /** A key file cannot be read, is no key, or does not belong to the repository. */
  KEY_INVALID: REFUSED_TRUST,

  /** Bytes that passed their hash, yet are not what they should be (a catalog with absurd contents). */
  CATALOG_INVALID: BAD_DATA,
  /** The same of the database of tags. */
  HISTORY_INVALID: BAD_DATA,
  /** Bytes that do not have the hash that names them, from every place asked. */
  OBJECT_CORRUPT: BAD_DATA,
  /** No server has the object. */
  OBJECT_MISSING: { grpc: 15, errno: 5, exit: 6, http: 502 },
  /** An object is larger than its row says, or than anything of its kind may be. */
  OBJECT_TOO_BIG: BAD_DATA,
  /** No server or proxy answered in time; trying again later may help. */
  NETWORK: UNREACHABLE,

  /** Our own records on disk are damaged; nothing was destroyed. */
  STATE_DAMAGED: { grpc: 15, errno: 5, exit: 13, http: 500 },
  /** A system call failed; `data.errno` has the reason. */
  SYSTEM: { grpc: 13, errno: 5, exit: 14, http: 500 },
  /** A fault of ours; the log has more. */
  INTERNAL: { grpc: 13, errno: 5, exit: 1, http: 500 },
} as const satisfies Record<string, CodeRow>;

export type Code = keyof typeof CODES;

/** The machine-readable part of a failure; never a secret, it is logged and sent to clients. */
export type FailureData = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface FailureOptions {
  /** What the reader of the message should do next, a sentence without a full stop. */
  readonly next?: string;
  readonly data?: FailureData;
  readonly cause?: unknown;
}

/** A failure with a stable code. The message names the object and, where there is one, the next step. */
export class Failure extends Error {
  readonly code: Code;
  /** The message without the next step. */
  readonly what: string;
  readonly next: string | undefined;
  readonly data: FailureData;

  constructor(code: Code, what: string, options: FailureOptions = {}) {
    super(options.next === undefined ? what : `${what}; ${options.next}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Failure';
    this.code = code;
    this.what = what;
    this.next = options.next;
    this.data = options.data ?? {};
  }

  get errno(): number {
    return CODES[this.code].errno;
  }

  get exitCode(): number {
    return CODES[this.code].exit;
  }

  get grpcStatus(): number {
    return CODES[this.code].grpc;
  }

  get httpStatus(): number {
    return CODES[this.code].http;
  }

  /** For a trip over a socket or between threads; `fromJSON` undoes it. Causes stay at home. */
  toJSON(): { code: Code; what: string; next?: string; data: FailureData } {
    return { code: this.code, what: this.what, ...(this.next === undefined ? {} : { next: this.next }), data: this.data };
  }

  static fromJSON(value: unknown): Failure {
    if (typeof value !== 'object' || value === null) return new Failure('INTERNAL', 'a failure arrived without its text');
    const { code, what, next, data } = value as Record<string, unknown>;
    const known = typeof code === 'string' && Object.hasOwn(CODES, code) ? (code as Code) : 'INTERNAL';
    return new Failure(known, typeof what === 'string' ? what : 'a failure arrived without its text', {
      ...(typeof next === 'string' ? { next } : {}),
      ...(typeof data === 'object' && data !== null ? { data: data as FailureData } : {}),
    });
  }

  /** Turns anything thrown into a Failure: the one place that does. */
  static from(reason: unknown, what?: string): Failure {
    if (reason instanceof Failure) return reason;
    const prefix = what === undefined ? '' : `${what}: `;
    // An error made in another context (a test's sandbox has its own `Error`) is one too.
    if (reason instanceof Error || types.isNativeError(reason)) {
      const errno = (reason as NodeJS.ErrnoException).code;
      if (errno === 'ENOSPC' || errno === 'EDQUOT' || errno === 'SQLITE_FULL') return new Failure('NO_SPACE', `${prefix}${reason.message}`, { cause: reason });
      if (typeof errno === 'string' && /^E[A-Z0-9]+$/.test(errno)) return new Failure('SYSTEM', `${prefix}${reason.message}`, { cause: reason, data: { errno } });
      return new Failure('INTERNAL', `${prefix}${reason.message}`, { cause: reason });
    }
    return new Failure('INTERNAL', `${prefix}${String(reason)}`);
  }
}
