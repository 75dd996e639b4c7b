/**
 * Every key of /etc/mesos-cvmfs/config.toml with its kind, default and meaning. The code's name of a value carries its
 * unit (`maxTtlMs`), the key does not, since its text does ("15m"). docs/configuration.md describes the same keys; a test
 * keeps the two together.
 */
import * as type from './value-types';
import type { ValueType } from './value-types';

export interface Setting<T> {
  readonly key: string;
  readonly type: ValueType<T>;
  /** Undefined where a repository's default comes from the CVMFS_* parameters, and where unset means none. */
  readonly fallback: T;
}

export type Section = Readonly<Record<string, Setting<unknown>>>;
export type SectionValues<S extends Section> = { readonly [K in keyof S]: S[K]['fallback'] };

function setting<T>(key: string, kind: ValueType<T>, fallback: NoInfer<T>): Setting<T> {
  return { key, type: kind, fallback };
}

function optional<T>(key: string, kind: ValueType<T>): Setting<T | undefined> {
  return { key, type: kind, fallback: undefined };
}

const GB = 1e9;
const MINUTE = 60_000;

export const TOP = {
  stateDir: setting('state_dir', type.absolutePath, '/var/lib/mesos-cvmfs'),
  runDir: setting('run_dir', type.absolutePath, '/run/mesos-cvmfs'),
  mountRoot: setting('mount_root', type.absolutePath, '/cvmfs'),
  listen: setting('listen', type.unixSocket, 'unix:///run/mesos-cvmfs/provisioner.sock'),
  http: setting('http', type.hostPort, { host: '127.0.0.1', port: 61081 }),
  serverUser: setting('server_user', type.text, 'mesos-cvmfs'),
  logLevel: setting('log_level', type.oneOf('error', 'warn', 'info', 'debug'), 'info'),
  logFormat: setting('log_format', type.oneOf('text', 'json'), 'text'),
};

/** All optional: what is unset comes from the CVMFS_* parameters, else from the defaults of build-repository-config.ts. */
export const REPOSITORY = {
  servers: optional('servers', type.listOf(type.serverUrl)),
  maxServers: optional('max_servers', type.integer(1, 64)),
  proxies: optional('proxies', type.proxies),
  fallbackProxies: optional('fallback_proxies', type.proxies),
  externalServers: optional('external_servers', type.listOf(type.serverUrl)),
  externalProxies: optional('external_proxies', type.proxies),
  publicKeys: optional('public_keys', type.listOf(type.absolutePath)),
  keysDir: optional('keys_dir', type.absolutePath),
  blacklist: optional('blacklist', type.absolutePath),
  tag: optional('tag', type.text),
  rootHash: optional('root_hash', type.catalogHash),
  date: optional('date', type.date),
  autoUpdate: optional('auto_update', type.boolean),
  maxTtlMs: optional('max_ttl', type.duration),
  timeoutMs: optional('timeout', type.duration),
  timeoutDirectMs: optional('timeout_direct', type.duration),
  lowSpeedLimitBytesPerSecond: optional('low_speed_limit', type.size),
  maxRetries: optional('max_retries', type.integer(0, 100)),
  maxConnections: optional('max_connections', type.integer(1, 1024)),
  backoffInitMs: optional('backoff_init', type.duration),
  backoffMaxMs: optional('backoff_max', type.duration),
  proxyResetAfterMs: optional('proxy_reset_after', type.duration),
  hostResetAfterMs: optional('host_reset_after', type.duration),
  requestDeadlineMs: optional('request_deadline', type.duration),
  followRedirects: optional('follow_redirects', type.boolean),
  infoHeader: optional('send_info_header', type.boolean),
  claimOwnership: optional('claim_ownership', type.boolean),
  uidMap: optional('uid_map', type.absolutePath),
  gidMap: optional('gid_map', type.absolutePath),
  worldReadable: optional('world_readable', type.boolean),
  magicXattrs: optional('magic_xattrs', type.oneOf('rootonly', 'always', 'never')),
  variables: optional('variables', type.stringTable),
  inodeBits: optional('inode_bits', type.oneOf(64, 32)),
  speculation: optional('speculation', type.oneOf('on', 'off')),
  speculationMaxObjects: optional('speculation_max_objects', type.integer(1, 4096)),
  speculationMaxBytes: optional('speculation_max', type.size),
  mount: setting('mount', type.oneOf('own', 'external'), 'own'),
};

export const PROVISIONER = {
  imageRepositories: setting('image_repositories', type.listOf(type.fqrn), []),
  imageConfigSources: setting('image_config_sources', type.listOf(type.configSource), []),
  backend: setting('backend', type.oneOf('overlay', 'bind'), 'overlay'),
  completeAfterMs: setting('complete_after', type.duration, 60 * MINUTE),
  completeBytesPerSecond: setting('complete_rate', type.size, 10e6),
  profiles: setting('profiles', type.oneOf('on', 'off'), 'on'),
  profileRecordMs: setting('profile_record', type.duration, 20_000),
  requestDeadlineMs: setting('request_deadline', type.duration, 5 * MINUTE),
  maxRequests: setting('max_requests', type.integer(1, 10_000), 64),
  maxQueuedRequests: setting('max_queued_requests', type.integer(0, 100_000), 1024),
};

export const CACHE = {
  dir: setting('dir', type.absolutePath, '/var/cache/mesos-cvmfs'),
  limitBytes: setting('limit', type.size, 20 * GB),
};

export const FACADE = {
  enabled: setting('enabled', type.boolean, false),
  listen: setting('listen', type.hostPort, { host: '127.0.0.1', port: 61080 }),
  dockerStoreDir: optional('docker_store_dir', type.absolutePath),
  agentWorkDir: optional('agent_work_dir', type.absolutePath),
  agentRuntimeDir: setting('agent_runtime_dir', type.absolutePath, '/var/run/mesos'),
  auth: setting('auth', type.oneOf('none', 'secret'), 'none'),
  fallbackRegistries: setting('fallback_registries', type.listOf(type.registryHost), []),
  maxResolves: setting('max_resolves', type.integer(1, 10_000), 16),
  maxLinksPerHour: setting('max_links_per_hour', type.integer(1, 1_000_000), 1000),
  maxViews: setting('max_views', type.integer(1, 1_000_000), 10_000),
};

/** Repositories that one container may have at /cvmfs. */
export const ISOLATOR_REPOSITORIES_MAX = 16;

export const ISOLATOR = {
  enabled: setting('enabled', type.boolean, false),
  socket: optional('socket', type.unixSocket),
  allowedRepositories: setting('allowed_repositories', type.listOf(type.fqrn), []),
};

export const FUSE = {
  driver: setting('driver', type.oneOf('kernel', 'fuse-native'), 'kernel'),
  dataPath: setting('data_path', type.oneOf('server', 'passthrough'), 'server'),
  maxReaders: setting('max_readers', type.integer(1, 64), 2),
  maxBackground: setting('max_background', type.integer(1, 65535), 128),
};

export const LIMITS = {
  maxRequestBytes: setting('max_request', type.size, 4_000_000),
};

/** Tables of the file, by name; `repositories` is a table of tables and stands apart. */
export const SECTIONS = { provisioner: PROVISIONER, cache: CACHE, facade: FACADE, isolator: ISOLATOR, fuse: FUSE, limits: LIMITS };
