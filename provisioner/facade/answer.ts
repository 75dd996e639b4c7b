/** Answers of the facade, errors in the registry's form: `{"errors": [{"code", "message", "detail"}]}` (distribution spec). */
import type { Readable } from 'node:stream';
import type { Code } from '../../src/error';
import type { Failure } from '../../src/error';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream has its `content-length` in the headers. */
  readonly body: Buffer | Readable;
}

/** The registry's own codes, for clients that look at them; the stable code is in `detail`. */
const REGISTRY_CODES: Partial<Record<Code, string>> = {
  INVALID_ARGUMENT: 'NAME_INVALID',
  NOT_FOUND: 'MANIFEST_UNKNOWN',
  NOT_A_DIRECTORY: 'MANIFEST_UNKNOWN',
  LINK_LOOP: 'MANIFEST_UNKNOWN',
  UNIMPLEMENTED: 'UNSUPPORTED',
  PERMISSION_DENIED: 'DENIED',
  RESOURCE_EXHAUSTED: 'TOOMANYREQUESTS',
};

export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: Buffer.from(`${JSON.stringify(value)}\n`) };
}

export function errorAnswer(status: number, code: string, message: string, detail?: unknown, headers?: Readonly<Record<string, string>>): Answer {
  return json(status, { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] }, headers);
}

export function failureAnswer(failure: Failure, kind?: 'manifest' | 'blob'): Answer {
  const { code, message, data, httpStatus } = failure;
  const registry = code === 'NOT_FOUND' && kind === 'blob' ? 'BLOB_UNKNOWN' : (REGISTRY_CODES[code] ?? 'UNAVAILABLE');
  const retryAfterS = data['retryAfterS'];
  return errorAnswer(httpStatus, registry, message, { code }, typeof retryAfterS === 'number' ? { 'retry-after': String(retryAfterS) } : {});
}
