/** The kinds of values that the configuration file holds: each says what it expects and turns TOML data into what the code uses. */
import { Failure } from '../error';
import { parseProxyGroups } from './proxy-groups';
import { CATALOG_HASH, isFqrn } from './repository-config';
import { formatDuration, formatSize, parseDuration, parseSize } from './units';

export interface ValueType<T> {
  /** What an error says is expected, with an example: `a duration such as "15m"`. */
  readonly expected: string;
  /** Returns undefined, or throws CONFIG_INVALID with more to say, when the value is of another shape. */
  parse(value: unknown): T | undefined;
  /** The value as one would write it; default: itself. */
  show?(value: T): unknown;
}

/** Addresses of unix sockets end after this many bytes; Node and gRPC cut longer ones silently. */
export const MAX_SOCKET_PATH_BYTES = 107;
const MAX_TEXT_CHARACTERS = 16 * 1024;
const MAX_LIST_ELEMENTS = 1000;

function string(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= MAX_TEXT_CHARACTERS && !value.includes('\0') ? value : undefined;
}

function matching(expected: string, test: (text: string) => boolean): ValueType<string> {
  return {
    expected,
    parse: (value) => {
      const text = string(value);
      return text !== undefined && test(text) ? text : undefined;
    },
  };
}

export const boolean: ValueType<boolean> = { expected: 'true or false', parse: (value) => (typeof value === 'boolean' ? value : undefined) };
export const text = matching('a text', (value) => value !== '');

/** Without `.`, `..` and empty components, so that two spellings of one directory can not pass for two. */
export const absolutePath: ValueType<string> = matching('an absolute path without "." and ".." such as "/var/lib/mesos-cvmfs"', isCleanPath);

export const fqrn: ValueType<string> = matching('the name of a repository such as "images.example.org"', isFqrn);

export function integer(min: number, max: number): ValueType<number> {
  return { expected: `a whole number from ${min} to ${max}`, parse: (value) => (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined) };
}

export function oneOf<const T extends string | number>(...choices: readonly T[]): ValueType<T> {
  return { expected: choices.map((choice) => JSON.stringify(choice)).join(' or '), parse: (value) => choices.find((choice) => choice === value) };
}

export function listOf<T>(element: ValueType<T>): ValueType<readonly T[]> {
  return {
    expected: `a list, each ${element.expected}`,
    parse: (value) => {
      if (!Array.isArray(value) || value.length > MAX_LIST_ELEMENTS) return undefined;
      const parsed = value.map((one) => element.parse(one));
      return parsed.includes(undefined) ? undefined : (parsed as T[]);
    },
  };
}

/** Milliseconds. */
export const duration: ValueType<number> = { expected: 'a duration such as "15m", "1s" or "250ms"', parse: (value) => onText(value, parseDuration), show: formatDuration };
/** Bytes. */
export const size: ValueType<number> = { expected: 'a size such as "20 GB" or "512 MiB"', parse: (value) => onText(value, parseSize), show: formatSize };

/** Kept as its text: groups are made of it together with the fallback proxies. */
export const proxies: ValueType<string> = {
  expected: 'proxies such as "http://squid1:3128|http://squid2:3128;DIRECT"',
  parse: (value) =>
    onText(value, (given) => {
      parseProxyGroups(given);
      return given;
    }),
};

/** `@fqrn@` and `@org@` may stand anywhere in it. */
export const serverUrl: ValueType<string> = matching('a URL such as "http://s1.example.org/cvmfs/@fqrn@", http or https, without credentials', isServerUrl);

export const unixSocket: ValueType<string> = {
  expected: 'the address of a unix socket such as "unix:///run/mesos-cvmfs/provisioner.sock"',
  parse: (value) =>
    onText(value, (given) => {
      if (!given.startsWith('unix://') || !isCleanPath(given.slice('unix://'.length))) return undefined;
      checkSocketPath(given.slice('unix://'.length));
      return given;
    }),
};

/** Where an image's configuration is looked for (docs/configuration.md). */
export const configSource: ValueType<string> = matching('"oci:/path" or "docker://registry.example.org"', (value) =>
  value.startsWith('oci:') ? isCleanPath(value.slice('oci:'.length)) : /^docker:\/\/[A-Za-z0-9.-]+(:[0-9]{1,5})?(\/[A-Za-z0-9._\/-]+)?$/.test(value),
);

export const registryHost: ValueType<string> = matching('the host of a registry such as "registry.example.org:5000"', (value) => /^[A-Za-z0-9.-]+(:[0-9]{1,5})?$/.test(value));

export const catalogHash: ValueType<string> = matching('a catalog hash, 40 hexadecimal digits', (value) => CATALOG_HASH.test(value));

/** Seconds since 1970. */
export const date: ValueType<number> = {
  expected: 'a time such as "2026-01-31T12:00:00Z"',
  parse: (value) => (value instanceof Date ? seconds(value.toISOString()) : onText(value, parseDate)),
  show: (value) => new Date(value * 1000).toISOString().replace('.000Z', 'Z'),
};

/** Seconds since 1970 of `2026-01-31T12:00:00Z`, or undefined. */
export function parseDate(value: string): number | undefined {
  return /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/.test(value) ? seconds(value) : undefined;
}

function seconds(value: string): number | undefined {
  const ms = Date.parse(value);
  return Number.isNaN(ms) || ms < 0 ? undefined : Math.floor(ms / 1000);
}

/** Host and port; port 0 picks a free one. */
export const hostPort: ValueType<{ readonly host: string; readonly port: number }> = {
  expected: 'an address and port such as "127.0.0.1:61081" or "[::1]:61081"',
  parse: (value) => {
    const match = typeof value === 'string' ? /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(value) : null;
    const port = Number(match?.[3]);
    return match === null || port > 65535 ? undefined : { host: (match[1] ?? match[2])!, port };
  },
  show: ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
};

export const stringTable: ValueType<Readonly<Record<string, string>>> = {
  expected: 'a table of texts such as { OSNAME = "linux" }',
  parse: (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) return undefined;
    const entries = Object.entries(value);
    return entries.length <= MAX_LIST_ELEMENTS && entries.every(([, held]) => string(held) !== undefined) ? (value as Record<string, string>) : undefined;
  },
};

/** Throws CONFIG_INVALID when a socket at this path can not be bound under its whole name. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new Failure('CONFIG_INVALID', `the socket path ${path} has ${bytes} bytes, the system's limit is ${MAX_SOCKET_PATH_BYTES}`, { next: 'choose a shorter run_dir or listen' });
  }
}

export function isServerUrl(value: string): boolean {
  if (!/^https?:\/\/[^\s|;]+$/.test(value)) return false;
  try {
    const url = new URL(value.replaceAll('@fqrn@', 'fqrn').replaceAll('@org@', 'org'));
    return url.hostname !== '' && url.username === '' && url.password === '' && url.hash === '' && url.search === '';
  } catch {
    return false;
  }
}

function isCleanPath(value: string): boolean {
  return value === '/' || (value.startsWith('/') && Buffer.byteLength(value) <= 4095 && value.slice(1).split('/').every((part) => part !== '' && part !== '.' && part !== '..'));
}

function onText<T>(value: unknown, parse: (text: string) => T | undefined): T | undefined {
  const given = string(value);
  return given === undefined ? undefined : parse(given);
}
