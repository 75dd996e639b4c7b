/**
 * Everything that a file system server needs for one mount. It is made by a process that may read the configuration and
 * the keys (`serve`, `mount`), and travels as JSON by descriptor to an unprivileged one that opens nothing by path; so
 * keys, blacklists and maps are here as texts, and what arrives is checked as strictly as anything from outside.
 */
import { z } from 'zod';
import { Failure } from '../error';

/** Which root catalog is mounted: the newest, or a fixed one that never expires and never updates (spec 5.4). */
export type FixedRevision =
  | { readonly kind: 'trunk' }
  | { readonly kind: 'tag'; readonly name: string }
  | { readonly kind: 'rootHash'; readonly hash: string }
  | { readonly kind: 'date'; readonly unixSeconds: number };

export type MagicXattrVisibility = 'rootonly' | 'always' | 'never';
export type DataPath = 'server' | 'passthrough';
export type FuseDriver = 'kernel' | 'fuse-native';
export type InodeBits = 32 | 64;

/** Room for many keys, maps and blacklists; what is bigger is nonsense. */
export const MAX_REPOSITORY_CONFIG_BYTES = 8 * 1024 * 1024;

/** A repository name: checked before any path or URL is built from it (docs/format.md, repository names). */
export const FQRN = /^[A-Za-z0-9]([A-Za-z0-9_-]|\.(?!\.))*[A-Za-z0-9]$/;
export const MAX_FQRN_CHARACTERS = 60;

/** A root catalog's hash as text (docs/format.md, hashes and their text form). */
export const CATALOG_HASH = /^[0-9a-f]{40}(-rmd160|-shake128)?$/;

/** True for the name of a repository: letters, digits, `.`, `-`, `_`, no two dots in a row, 2 to 60 characters. */
export function isFqrn(name: string): boolean {
  return name.length <= MAX_FQRN_CHARACTERS && FQRN.test(name);
}

const count = (max: number) => z.number().int().min(0).max(max);
const milliseconds = count(1000 * 86400 * 365);
const text = (maxCharacters: number) => z.string().max(maxCharacters);
const url = text(4096).regex(/^https?:\/\/[^\s]+$/, 'expected a URL that begins with http:// or https://');
const proxyGroups = z.array(z.array(text(4096).min(1)).min(1).max(256)).max(64);

const CONFIG_VERSION = 1;

const schema = z.strictObject({
  /** Grows when a field changes its meaning: the reader may be of another version than the writer during an upgrade. */
  version: z.literal(CONFIG_VERSION),
  fqrn: z.string().max(MAX_FQRN_CHARACTERS).regex(FQRN, 'not the name of a repository'),
  /** Base URLs, in order of preference, `@fqrn@` and `@org@` replaced, without a slash at the end. */
  servers: z.array(url).min(1).max(64),
  /** Groups in order of fail-over; each element a proxy URL or `DIRECT`; within a group the load is spread (spec 6.1). */
  proxyGroups: proxyGroups.min(1),
  /** Servers of external files; empty: the repository's external files can not be read. */
  externalServers: z.array(url).max(64),
  externalProxyGroups: proxyGroups,
  /** PEM texts of the master public keys; the whitelist must be signed by one of them (spec 3.3). */
  publicKeys: z.array(text(64 * 1024)).min(1).max(64),
  /** Texts of the blacklist files (spec 3.5). */
  blacklists: z.array(text(1024 * 1024)).max(8),
  fixed: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('trunk') }),
    z.strictObject({ kind: z.literal('tag'), name: text(255).min(1) }),
    z.strictObject({ kind: z.literal('rootHash'), hash: z.string().regex(CATALOG_HASH, 'not a catalog hash') }),
    z.strictObject({ kind: z.literal('date'), unixSeconds: count(253402300799) }),
  ]),
  /** False: the mount stays on the revision that it began with. */
  autoUpdate: z.boolean(),
  /** Cap on the catalog's own time to live; null: none. */
  maxTtlMs: milliseconds.nullable(),
  /** To connect, and without a byte above the low speed limit, through a proxy. */
  timeoutMs: milliseconds.min(1),
  /** The same without a proxy. */
  timeoutDirectMs: milliseconds.min(1),
  lowSpeedLimitBytesPerSecond: count(1e12),
  /** Of the same URL, before another proxy or server is tried (spec 6.6). */
  maxRetries: count(100),
  /** To one proxy or server. A mount that was made before there was the setting has the default. */
  maxConnections: count(1024).min(1).default(64),
  backoffInitMs: milliseconds,
  backoffMaxMs: milliseconds,
  proxyResetAfterMs: milliseconds,
  hostResetAfterMs: milliseconds,
  followRedirects: z.boolean(),
  /** Tell servers the path that is read (`cvmfs-info`, spec 6.3). */
  infoHeader: z.boolean(),
  /** Budget of one reader's request over all retries; at its end the reader gets EIO (docs/architecture.md). */
  requestDeadlineMs: milliseconds.min(1),
  /** True: every entry belongs to root. Default false, unlike the stock client: images need their owners. */
  claimOwnership: z.boolean(),
  /** Texts of the ownership maps, empty: none (spec 5.8). */
  uidMap: text(1024 * 1024),
  gidMap: text(1024 * 1024),
  worldReadable: z.boolean(),
  /** Who sees the magic extended attributes in a listing; asking for one by name always works. */
  magicXattrs: z.enum(['rootonly', 'always', 'never']),
  /** Values of `$(NAME)` in variant symlinks, base64 of their bytes, since an environment need not be UTF-8 (spec 4.4). */
  variables: z.record(text(1024), z.string().max(1024 * 1024).regex(/^[A-Za-z0-9+/]*={0,2}$/, 'not base64')),
  inodeBits: z.union([z.literal(32), z.literal(64)]),
  cacheDir: text(4096).regex(/^\//, 'expected an absolute path'),
  cacheLimitBytes: count(Number.MAX_SAFE_INTEGER),
  driver: z.enum(['kernel', 'fuse-native']),
  dataPath: z.enum(['server', 'passthrough']),
  /** Reader workers on the mount's descriptor. */
  readers: count(64).min(1),
  /** Whether anything is fetched that nobody has asked for yet; how many objects at a time, and their plain bytes. */
  speculation: z.enum(['on', 'off']).default('on'),
  speculationMaxObjects: count(4096).min(1).default(96),
  speculationMaxBytes: count(Number.MAX_SAFE_INTEGER).min(1).default(64e6),
  /** Requests that the kernel keeps in flight in the background (FUSE_INIT). */
  maxBackground: count(65535).min(1),
});

type Deep<T> = T extends (infer E)[] ? readonly Deep<E>[] : T extends object ? { readonly [K in keyof T]: Deep<T[K]> } : T;

/** See the fields of the schema above; JSON-serialisable as it is. */
export type RepositoryConfig = Deep<z.infer<typeof schema>>;

/** Reads what `JSON.stringify(config)` wrote. Throws CONFIG_INVALID naming the first field that is wrong. */
export function parseRepositoryConfig(json: string | Buffer): RepositoryConfig {
  if (json.length > MAX_REPOSITORY_CONFIG_BYTES) throw new Failure('CONFIG_INVALID', `repository configuration of ${json.length} bytes is over the limit of ${MAX_REPOSITORY_CONFIG_BYTES}`);
  let value: unknown;
  try {
    value = JSON.parse(json.toString());
  } catch (error) {
    throw new Failure('CONFIG_INVALID', 'repository configuration is not JSON', { cause: error });
  }
  return checkRepositoryConfig(value);
}

/** The same for a value that is parsed already. */
export function checkRepositoryConfig(value: unknown, name = 'a repository configuration'): RepositoryConfig {
  const version = (value as { version?: unknown } | null | undefined)?.version;
  if (typeof version === 'number' && version > CONFIG_VERSION) throw new Failure('FAILED_PRECONDITION', `${name} has version ${version}, this program knows versions up to ${CONFIG_VERSION}`, { next: 'use the newer mesos-cvmfs that wrote it', data: { version } });
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = issue.path.length === 0 ? '' : `, field ${issue.path.join('.')}`;
  throw new Failure('CONFIG_INVALID', `repository configuration${field}: ${issue.message}`);
}
