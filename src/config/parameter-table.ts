/**
 * What becomes of each CVMFS_* parameter of the stock client (spec 5.2): honoured, refused (a mount with it fails, since
 * going on would do something else than the site asked for, or give access that it withholds), or ignored with a reason.
 * docs/parameters.md is this table. Whatever its row says, every parameter is also a variable of variant symlinks.
 */
import { Failure } from '../error';
import { parameterBoolean, type Parameter } from './parameter-file';

export type Disposition = 'honoured' | 'refused' | 'ignored';

export interface ParameterRow {
  /** A trailing `*` stands for any ending. */
  readonly name: string;
  readonly disposition: Disposition;
  /** What it does here, or why it does nothing. Refused ones: the reason and the cure, "reason; cure". */
  readonly text: string;
  /** Refused only with values for which this is true (default: any that is not empty or off). */
  readonly when?: (value: string) => boolean;
}

const honoured = (name: string, text: string): ParameterRow => ({ name, disposition: 'honoured', text });
const ignored = (name: string, text: string): ParameterRow => ({ name, disposition: 'ignored', text });
const refused = (name: string, text: string, when?: (value: string) => boolean): ParameterRow => ({ name, disposition: 'refused', text, ...(when === undefined ? {} : { when }) });

const isOff = (value: string): boolean => parameterBoolean(value) === false;
const OF_RESOLVER = 'the resolver of the host decides (`/etc/resolv.conf`, `/etc/hosts`, `nsswitch.conf`)';
const OF_LOG = '`log_level` and `log_format`; standard error, thus the journal';
const OF_PUBLISHER = 'of the publishing side, not of a client';
const INODES = 'a node is derived from the catalog row and is the same in every process';

export const PARAMETERS: readonly ParameterRow[] = [
  // Where data comes from
  honoured('CVMFS_SERVER_URL', '`servers`; chain of base URLs separated by `;`, in order of preference'),
  honoured('CVMFS_MAX_SERVERS', '`max_servers`; cuts the chain'),
  honoured('CVMFS_HTTP_PROXY', '`proxies`; unset: DIRECT. Blanks around elements are trimmed; `auto` is refused'),
  honoured('CVMFS_FALLBACK_PROXY', '`fallback_proxies`; appended groups, DIRECT leaves both lists'),
  honoured('CVMFS_EXTERNAL_URL', '`external_servers`; chain for external files separated by `;`'),
  honoured('CVMFS_EXTERNAL_HTTP_PROXY', '`external_proxies`; unset: DIRECT'),
  honoured('CVMFS_EXTERNAL_MAX_SERVERS', 'cuts the chain of external servers'),
  ignored('CVMFS_MAX_EXTERNAL_SERVERS', 'a name of the documentation that the stock client does not read either; `CVMFS_EXTERNAL_MAX_SERVERS`'),
  honoured('CVMFS_USE_CDN', 'in the conditions of parameter files, which choose the servers by it'),
  ignored('CVMFS_USE_GEOAPI', 'servers are asked in the order written'),
  ignored('CVMFS_CLIENT_PROFILE', 'without a proxy the way is direct in any case; in the conditions of parameter files it counts'),
  ignored('CVMFS_PAC_URLS', 'proxies are not discovered: a PAC file is a program from the network'),
  ignored('CVMFS_PROXY_SHARD', 'the load of a group is spread at random'),
  honoured('CVMFS_FOLLOW_REDIRECTS', '`follow_redirects`'),
  honoured('CVMFS_SEND_INFO_HEADER', '`send_info_header`; sends `cvmfs-info: <path>`'),
  ignored('CVMFS_HTTP_TRACING', 'user and process ids are not told to servers'),
  ignored('CVMFS_HTTP_TRACING_HEADERS', 'see CVMFS_HTTP_TRACING'),
  ignored('CVMFS_IPFAMILY_PREFER', OF_RESOLVER),
  ignored('CVMFS_MAX_IPADDR_PER_PROXY', OF_RESOLVER),
  ignored('CVMFS_DNS_*', OF_RESOLVER),
  ignored('CVMFS_NOTIFICATION_SERVER', 'new revisions are found when the time to live is over'),

  // Patience
  honoured('CVMFS_TIMEOUT', '`timeout`; seconds, through a proxy'),
  honoured('CVMFS_TIMEOUT_DIRECT', '`timeout_direct`; seconds, without a proxy'),
  honoured('CVMFS_LOW_SPEED_LIMIT', '`low_speed_limit`; bytes per second'),
  honoured('CVMFS_MAX_RETRIES', '`max_retries`; of the same URL'),
  honoured('CVMFS_BACKOFF_INIT', '`backoff_init`; seconds'),
  honoured('CVMFS_BACKOFF_MAX', '`backoff_max`; seconds'),
  honoured('CVMFS_PROXY_RESET_AFTER', '`proxy_reset_after`; seconds'),
  honoured('CVMFS_HOST_RESET_AFTER', '`host_reset_after`; seconds'),
  ignored('CVMFS_FAILOVER_INDEFINITELY', 'every request has a deadline (`request_deadline`), a reader never waits for ever'),

  // Trust
  honoured('CVMFS_PUBLIC_KEY', '`public_keys`; files separated by `:`; wins over CVMFS_KEYS_DIR'),
  honoured('CVMFS_KEYS_DIR', '`keys_dir`; every `*.pub` in it'),
  ignored('CVMFS_TRUSTED_CERTS', 'whitelists are verified with the master keys only'),
  honoured('CVMFS_BLACKLIST', '`blacklist`; a file, read when the mount is made (unset: `blacklist` in the folder of the parameter files)'),
  refused('CVMFS_IGNORE_SIGNATURE', 'signatures are always verified; remove it'),
  refused('_CVMFS_DEVEL_IGNORE_SIGNATURE_FAILURES', 'signatures are always verified; remove it'),
  ignored('CVMFS_AUTHZ_*', 'repositories that ask for a membership are not mounted'),

  // Revision
  honoured('CVMFS_ROOT_HASH', '`root_hash`; wins over tag and date'),
  honoured('CVMFS_REPOSITORY_TAG', '`tag`; wins over date'),
  honoured('CVMFS_REPOSITORY_DATE', '`date`; `2026-01-31T12:00:00Z`'),
  honoured('CVMFS_AUTO_UPDATE', '`auto_update`; `no` stays on the revision of the mount'),
  honoured('CVMFS_MAX_TTL', '`max_ttl`; minutes, 0 is no cap'),

  // Cache
  honoured('CVMFS_CACHE_DIR', 'with `-o` only: the cache of this mount. In files it means the cache of the stock client, whose layout is another; `cache.dir`'),
  ignored('CVMFS_CACHE_BASE', 'means the cache of the stock client, whose layout is another; `cache.dir`'),
  honoured('CVMFS_QUOTA_LIMIT', 'with `-o` only, MB: the limit of the cache of this mount. In files it means the cache of the stock client; `cache.limit`'),
  ignored('CVMFS_SHARED_CACHE', 'mounts with the same cache directory share it'),
  refused('CVMFS_ALIEN_CACHE', 'a cache that something else manages can not be used; remove it for this repository, the cache is `cache.dir`'),
  refused('CVMFS_CACHE_PRIMARY', 'cache instances (RAM, tiered, external) are not offered; remove it for this repository, the cache is `cache.dir`', (value) => value !== '' && value !== 'default'),
  ignored('CVMFS_CACHE_SYMLINKS', 'the kernel always keeps symlinks'),
  ignored('CVMFS_CACHE_REFCOUNT', 'objects are opened once by design'),
  ignored('CVMFS_CACHE_*', 'parameters of cache instances; without CVMFS_CACHE_PRIMARY they do nothing'),
  ignored('CVMFS_STREAMING_CACHE', 'objects are kept within `cache.limit`'),
  ignored('CVMFS_WORKSPACE', 'sockets and locks are in `run_dir`'),

  // The tree
  honoured('CVMFS_CLAIM_OWNERSHIP', '`claim_ownership`; with `-o` only, since the `default.conf` of the stock client says yes and images need their owners'),
  honoured('CVMFS_UID_MAP', '`uid_map`; a file'),
  honoured('CVMFS_GID_MAP', '`gid_map`; a file'),
  honoured('CVMFS_WORLD_READABLE', '`world_readable`'),
  refused('CVMFS_CHECK_PERMISSIONS', 'without permission checks every user reads files of mode 0600; remove it, or set CVMFS_WORLD_READABLE=yes', isOff),
  refused('CVMFS_ENFORCE_ACLS', 'POSIX ACLs are shown and not enforced, so that more users could read than the site allows; set it to no if that is acceptable'),
  refused('CVMFS_XATTR_PROTECTED_XATTRS', 'access to attributes by group is not offered; remove it if every user may see them'),
  ignored('CVMFS_XATTR_PRIVILEGED_GIDS', 'belongs to CVMFS_XATTR_PROTECTED_XATTRS'),
  honoured('CVMFS_MAGIC_XATTRS_VISIBILITY', '`magic_xattrs`; `rootonly`, `always` or `never`'),
  honoured('CVMFS_HIDE_MAGIC_XATTRS', 'old form: `yes` is `never`, when CVMFS_MAGIC_XATTRS_VISIBILITY is unset'),
  ignored('CVMFS_SUID', 'mounts are `nosuid`; set-user-id programs work through a container’s own overlay'),
  ignored('CVMFS_MOUNT_RW', 'mounts are read-only'),
  refused('CVMFS_NFS_SOURCE', 'export by NFS is not offered; remove it, or export a mount of the stock client'),
  refused('CVMFS_NFS_SHARED', 'export by NFS is not offered; remove it, or export a mount of the stock client'),
  refused('CVMFS_NFS_INTERLEAVED_INODES', 'export by NFS is not offered; remove it, or export a mount of the stock client'),
  ignored('CVMFS_INITIAL_GENERATION', INODES),
  ignored('CVMFS_KCACHE_TIMEOUT', 'what never changes is kept by the kernel for ever, the rest until the time to live is over'),
  ignored('CVMFS_STATFS_CACHE_TIMEOUT', 'statfs costs nothing here'),
  honoured('CVMFS_ARCH', 'set to the machine name for variant symlinks unless a file sets it'),
  honoured('CVMFS_FQRN', 'always the repository’s name'),

  // The process
  ignored('CVMFS_MEMCACHE_SIZE', 'memory does not grow with the files used'),
  ignored('CVMFS_NFILES', 'a server takes the hard limit of open files'),
  ignored('CVMFS_CATALOG_WATERMARK', 'catalogs are bounded by the open file limit'),
  ignored('CVMFS_USER', '`server_user`'),
  ignored('CVMFS_OOM_SCORE_ADJ', 'the keeper sets it'),
  ignored('CVMFS_CPU_AFFINITY', 'use the service manager'),
  ignored('CVMFS_SYSTEMD_NOKILL', 'the keeper has a session of its own'),
  ignored('CVMFS_RELOAD_SOCKETS', 'sockets are in `run_dir`'),
  ignored('CVMFS_DEBUGLOG', OF_LOG),
  ignored('CVMFS_USYSLOG', OF_LOG),
  ignored('CVMFS_SYSLOG_*', OF_LOG),
  ignored('CVMFS_TELEMETRY_*', 'metrics are at `/metrics`'),
  ignored('CVMFS_INFLUX_*', 'metrics are at `/metrics`'),

  // Which repositories
  ignored('CVMFS_MOUNT_DIR', '`mount_root`, or the directory given to `mount`'),
  ignored('CVMFS_STRICT_MOUNT', 'only configured repositories are mounted in any case'),
  ignored('CVMFS_REPOSITORIES', 'the repositories are those of the configuration file'),
  ignored('CVMFS_DEFAULT_DOMAIN', 'repositories are given by their full name'),
  ignored('CVMFS_CONFIG_REPOSITORY', 'parameters from a repository are not read, with a warning'),
  refused('CVMFS_CONFIG_REPO_REQUIRED', 'parameters from a configuration repository are not read; copy what is needed to files below /etc/cvmfs and remove it'),
  ignored('CVMFS_BASE_ENV', 'a mark of the shell tools'),
  ignored('CVMFS_CONFIG_REPO_*', 'see CVMFS_CONFIG_REPOSITORY'),

  ignored('CVMFS_AUTOCATALOGS', OF_PUBLISHER),
  ignored('CVMFS_AUTO_TAG', OF_PUBLISHER),
  ignored('CVMFS_AUTO_TAG_TIMESPAN', OF_PUBLISHER),
  ignored('CVMFS_COMPRESSION_ALGORITHM', OF_PUBLISHER),
  ignored('CVMFS_DOCKER_REGISTRY_PASS', OF_PUBLISHER),
  ignored('CVMFS_ENABLE_MTIME_NS', OF_PUBLISHER),
  ignored('CVMFS_ENFORCE_LIMITS', OF_PUBLISHER),
  ignored('CVMFS_GENERATE_LEGACY_BULK_CHUNKS', OF_PUBLISHER),
  ignored('CVMFS_HASH_ALGORITHM', OF_PUBLISHER),
  ignored('CVMFS_IGNORE_SPECIAL_FILES', OF_PUBLISHER),
  ignored('CVMFS_INCLUDE_XATTRS', OF_PUBLISHER),
  ignored('CVMFS_PROXY_TEMPLATE', OF_PUBLISHER),
  ignored('CVMFS_S3_*', OF_PUBLISHER),
  ignored('CVMFS_VIRTUAL_DIR', OF_PUBLISHER),
];

/** The row of a parameter, the one with its exact name before one with `*`; undefined: not a parameter that we know. */
export function parameterRow(name: string): ParameterRow | undefined {
  return PARAMETERS.find((row) => row.name === name) ?? PARAMETERS.find((row) => row.name.endsWith('*') && name.startsWith(row.name.slice(0, -1)));
}

/**
 * Throws CONFIG_INVALID for the first parameter that is set and refused. Returns the names that begin with CVMFS_ and are
 * not known, sorted: sites use such as variables of variant symlinks, so they are worth a word and nothing more.
 */
export function checkParameters(parameters: ReadonlyMap<string, Parameter>): string[] {
  const unknown: string[] = [];
  for (const [name, { value, file, line }] of parameters) {
    const row = parameterRow(name);
    if (row === undefined && name.startsWith('CVMFS_')) unknown.push(name);
    if (row?.disposition !== 'refused' || !(row.when ?? isSet)(value)) continue;
    const [why, next] = row.text.split('; ', 2) as [string, string];
    throw new Failure('CONFIG_INVALID', `${line === 0 ? file : `${file}:${line}`}: ${name}=${value.slice(0, 80)}: ${why}`, { next, data: { parameter: name } });
  }
  return unknown.sort();
}

function isSet(value: string): boolean {
  return value !== '' && !isOff(value);
}

/** docs/parameters.md. */
export function parameterTableMarkdown(): string {
  const rows = [...PARAMETERS].sort((a, b) => a.name.replace(/^_/, '').localeCompare(b.name.replace(/^_/, ''), 'en'));
  return `# CVMFS_* parameters

Parameters are read, as defaults for the repositories of the configuration file and for \`mount\`, from \`/etc/cvmfs\` in this
order, later ones winning: \`default.conf\`, \`default.d/*.conf\` (by name), \`default.local\`, \`domain.d/<domain>.conf\` and
\`.local\`, \`config.d/<fqrn>.conf\` and \`.local\`, then \`-o CVMFS_X=Y\` of the command line. What the configuration file says of
a repository wins over the files of \`/etc/cvmfs\`; \`-o\` and the other flags win over both. \`mesos-cvmfs config dump\` shows
where each value comes from.

The files are read without a shell. Understood are \`KEY=VALUE\` lines with \`export\` or \`readonly\` before them, quotes,
comments, a backslash at the end of a line, \`$NAME\`, \`\${NAME}\` and \`\${NAME:-default}\` of earlier parameters, and
\`if [ … ]; then … elif … else … fi\` with \`=\`, \`!=\`, \`-z\`, \`-n\`, \`!\`, \`&&\` and \`||\`. An \`if\` with another condition is passed over when it sets only parameters that are
ignored, as the file that Debian’s package ships does. Anything else fails with file and line.
\`@fqrn@\` becomes the repository's name, \`@org@\` its first label. Booleans are \`yes\`, \`on\`, \`1\`, \`true\` and their opposites.

*Honoured*: the name in the configuration file comes first, where there is one. *Refused*: a mount with it fails. *Ignored*:
does nothing, for the reason given. A parameter that begins with \`CVMFS_\` and is not here gets one warning. Every parameter,
whatever its row says, is a variable of variant symlinks.

| parameter | | |
|---|---|---|
${rows.map(({ name, disposition, text }) => `| \`${name}\` | ${disposition} | ${text} |`).join('\n')}
`;
}
