/**
 * What must never reach a log, a configuration dump or a failure's text: passwords in URLs, credentials of HTTP headers,
 * values under a secret's name at any depth, private keys. The shape of a record stays, so that a reader sees that
 * something was there.
 */
import { Failure } from '../error';

/** Stands in the place of every secret. */
export const REDACTED = '[redacted]';

/** Deeper than this a record is cut: a cyclic or hostile object must not hang the logger. */
const MAX_DEPTH = 8;
/** Elements of one array or object that are logged. */
const MAX_ELEMENTS = 200;
/** Characters of one string that are logged; the rest is counted. */
export const MAX_STRING_CHARACTERS = 16 * 1024;

// The whole name, or one word of it: `password`, `dbPassword`, `docker_config`, `X-Registry-Auth`; not `author`, not `tokens_total`.
const SECRET_WORD = new Set([
  'password', 'passwd', 'passphrase', 'pass', 'pw', 'secret', 'secrets', 'token', 'auth', 'auths', 'authorization', 'credential', 'credentials', 'cookie', 'bearer', 'apikey',
]);
const SECRET_NAME = /^(config|docker_?config|identity_?token|access_?key|secret_?key|private_?key|api_?key|master_?key)$/i;

/** True when a value under this key is not to be shown: password, secret, token, auth, config (a docker configuration), … */
export function isSecretKey(key: string): boolean {
  if (SECRET_NAME.test(key.replaceAll('-', '_'))) return true;
  const words = key.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase().split(/[^a-z0-9]+/);
  return words.some((word) => SECRET_WORD.has(word));
}

/** Takes the secrets out of a text: URL passwords, Authorization values, PEM private keys, `--password=…`. */
export function redactText(text: string): string {
  return (
    text
      .replace(/-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----[\s\S]*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, `-----BEGIN $1PRIVATE KEY----- ${REDACTED}`)
      // The scheme's length is bounded, since a search from every letter of a long text would take its square in time.
      // The last @ before the path ends the password, which may itself hold an @ that somebody forgot to escape.
      .replace(/([a-z0-9+.-]{1,20}:\/\/)([^\s/?#"'<>|;,:@]*):([^\s/?#"'<>|;,]*)@/gi, `$1$2:${REDACTED}@`)
      .replace(/\b((?:proxy-)?authorization["']?\s*[:=]\s*["']?)(?:(basic|bearer|digest|negotiate)\s+)?[^\s"',;}]+/gi, (_all, head: string, scheme?: string) =>
        scheme === undefined ? `${head}${REDACTED}` : `${head}${scheme} ${REDACTED}`,
      )
      .replace(/\b(basic|bearer)\s+[A-Za-z0-9+/_.~-]{8,}=*/gi, `$1 ${REDACTED}`)
      .replace(/\b(password|passwd|passphrase|secret|token|identitytoken|api_?key|auth)(["']?\s*[=:]\s*["']?)(?!\[redacted\]|basic |bearer )[^\s"',;&}]+/gi, `$1$2${REDACTED}`)
  );
}

/** The text, or its beginning and how much was left out. */
export function cut(text: string): string {
  return text.length <= MAX_STRING_CHARACTERS ? text : `${text.slice(0, MAX_STRING_CHARACTERS)}… (${text.length - MAX_STRING_CHARACTERS} more characters)`;
}

/** A copy of anything as plain JSON data without secrets: bounded in depth and width, errors and bytes made readable. */
export function redact(value: unknown): unknown {
  return redactValue(value, 0, new Set());
}

function redactValue(value: unknown, depth: number, above: Set<object>): unknown {
  if (typeof value === 'string') return redactText(cut(value));
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH || above.has(value)) return '[…]';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;

  above.add(value);
  try {
    if (value instanceof Error) return redactError(value, depth, above);
    if (value instanceof Map) return redactEntries([...value].slice(0, MAX_ELEMENTS).map(([key, held]) => [typeof key === 'object' ? '[object]' : String(key), held]), depth, above);
    if (Array.isArray(value) || value instanceof Set) {
      const all: unknown[] = [...value];
      const shown = all.slice(0, MAX_ELEMENTS).map((element) => redactValue(element, depth + 1, above));
      if (all.length > MAX_ELEMENTS) shown.push(`… (${all.length - MAX_ELEMENTS} more)`);
      return shown;
    }
    return redactEntries(Object.entries(value), depth, above);
  } finally {
    above.delete(value);
  }
}

function redactEntries(entries: readonly (readonly [string, unknown])[], depth: number, above: Set<object>): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [key, value] of entries.slice(0, MAX_ELEMENTS)) {
    const secret = isSecretKey(key) && value !== undefined && value !== null && typeof value !== 'boolean';
    // defineProperty, so that a key named __proto__ stays a key.
    Object.defineProperty(shown, redactText(key), { value: secret ? REDACTED : redactValue(value, depth + 1, above), enumerable: true, configurable: true, writable: true });
  }
  return shown;
}

function redactError(error: Error, depth: number, above: Set<object>): Record<string, unknown> {
  const { code, data } = error as Error & { code?: unknown; data?: unknown };
  return {
    name: error.name,
    message: redactText(cut(error.message)),
    ...(typeof code === 'string' ? { code } : {}),
    ...(data === undefined ? {} : { data: redactValue(data, depth + 1, above) }),
    // Where a failure with a code of its own arose helps nobody, and a server that is down makes thousands of them.
    ...(error.stack === undefined || (error instanceof Failure && error.code !== 'INTERNAL') ? {} : { stack: redactText(cut(error.stack)) }),
    ...(error.cause === undefined ? {} : { cause: redactValue(error.cause, depth + 1, above) }),
  };
}
