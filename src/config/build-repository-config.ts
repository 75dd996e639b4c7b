/**
 * Puts one repository's configuration together. For each value the first that says something wins:
 *
 *   flag (--server, --proxy, --public-key, --tag, --root-hash)  >  -o CVMFS_X=Y  >  configuration file  >  files of
 *   /etc/cvmfs  >  default
 *
 * Keys, maps and blacklists are read here and travel as texts. The environment's `http_proxy` is never looked at.
 */
import { Failure } from '../error';
import { harmlessValue, SECRET_NAME, type Config } from './config';
import { fixedRevision } from './fixed-revision';
import type { ConfigFiles } from './host-files';
import { LayeredValues, type Found } from './layered-values';
import { originText, type ConfigEntry, type ConfigWarning } from './origin';
import { checkParameters } from './parameter-table';
import { parameterBoolean, type Parameter } from './parameter-file';
import { DEFAULT_PARAMETER_DIR, OPTION, parameterOrigin, substitute, type Parameters } from './parameters';
import { readPublicKeys } from './public-keys';
import { DIRECT, parseProxyGroups, withFallbackProxies } from './proxy-groups';
import { checkRepositoryConfig, type MagicXattrVisibility, type RepositoryConfig } from './repository-config';
import { encodeVariables } from './variant-variables';
import { isServerUrl } from './value-types';

/** What the command line says of the repository; the cache directory comes with `Config` (--cache-dir). */
export interface RepositoryFlags {
  readonly servers?: readonly string[] | undefined;
  readonly proxy?: string | undefined;
  /** Files. */
  readonly publicKeys?: readonly string[] | undefined;
  readonly tag?: string | undefined;
  readonly rootHash?: string | undefined;
}

export interface BuildOptions {
  readonly fqrn: string;
  readonly config: Config;
  readonly parameters: Parameters;
  readonly flags?: RepositoryFlags | undefined;
  /** Of the command that mounts, by name: `parseEnvironment(/proc/self/environ)`. */
  readonly environment: ReadonlyMap<string, Buffer>;
  /** Machine name for CVMFS_ARCH: `os.machine()`. */
  readonly architecture: string;
  readonly files: ConfigFiles;
  /** Folder of the parameter files, for `blacklist` in it. */
  readonly parameterDir?: string | undefined;
}

export interface BuiltRepository {
  readonly config: RepositoryConfig;
  /** Every key of the repository with the value in force and its origin. */
  readonly entries: readonly ConfigEntry[];
  readonly warnings: readonly ConfigWarning[];
}

/** Throws CONFIG_INVALID or KEY_INVALID naming where the wrong value stands, INVALID_ARGUMENT for flags. */
export function buildRepositoryConfig(options: BuildOptions): BuiltRepository {
  return new Builder(options).build();
}

class Builder {
  private readonly fqrn: string;
  private readonly parameters: ReadonlyMap<string, Parameter>;
  private readonly flags: RepositoryFlags;
  private readonly values: LayeredValues;

  constructor(private readonly options: BuildOptions) {
    this.fqrn = options.fqrn;
    this.parameters = options.parameters.values;
    this.flags = options.flags ?? {};
    this.values = new LayeredValues(options.fqrn, options.config.repositories.get(options.fqrn), options.parameters.values, options.files);
  }

  build(): BuiltRepository {
    const { config, parameters } = this.options;
    const warnings = [...parameters.warnings, ...this.unknownParameters()];
    const built = checkRepositoryConfig({
      version: 1,
      fqrn: this.fqrn,
      servers: this.servers(),
      proxyGroups: this.proxyGroups(),
      externalServers: this.externalServers(),
      externalProxyGroups: parseProxyGroups(this.values.pick('externalProxies', 'CVMFS_EXTERNAL_HTTP_PROXY', proxyText, DIRECT).value),
      publicKeys: readPublicKeys(this.values, this.flags.publicKeys),
      blacklists: this.blacklists(),
      fixed: fixedRevision(this.values, this.flags),
      autoUpdate: this.values.pick('autoUpdate', 'CVMFS_AUTO_UPDATE', yesOrNo, true).value,
      maxTtlMs: this.values.pick('maxTtlMs', 'CVMFS_MAX_TTL', minutes, 0).value || null,
      timeoutMs: this.values.pick('timeoutMs', 'CVMFS_TIMEOUT', seconds, 5_000).value,
      timeoutDirectMs: this.values.pick('timeoutDirectMs', 'CVMFS_TIMEOUT_DIRECT', seconds, 10_000).value,
      lowSpeedLimitBytesPerSecond: this.values.pick('lowSpeedLimitBytesPerSecond', 'CVMFS_LOW_SPEED_LIMIT', wholeNumber, 1024).value,
      maxRetries: this.values.pick('maxRetries', 'CVMFS_MAX_RETRIES', wholeNumber, 1).value,
      maxConnections: this.values.pick('maxConnections', undefined, wholeNumber, 64).value,
      backoffInitMs: this.values.pick('backoffInitMs', 'CVMFS_BACKOFF_INIT', seconds, 2_000).value,
      backoffMaxMs: this.values.pick('backoffMaxMs', 'CVMFS_BACKOFF_MAX', seconds, 10_000).value,
      proxyResetAfterMs: this.values.pick('proxyResetAfterMs', 'CVMFS_PROXY_RESET_AFTER', seconds, 300_000).value,
      hostResetAfterMs: this.values.pick('hostResetAfterMs', 'CVMFS_HOST_RESET_AFTER', seconds, 1_800_000).value,
      requestDeadlineMs: this.values.pick('requestDeadlineMs', undefined, wholeNumber, 300_000).value,
      followRedirects: this.values.pick('followRedirects', 'CVMFS_FOLLOW_REDIRECTS', yesOrNo, false).value,
      infoHeader: this.values.pick('infoHeader', 'CVMFS_SEND_INFO_HEADER', yesOrNo, false).value,
      claimOwnership: this.claimOwnership(),
      uidMap: this.map('uidMap', 'CVMFS_UID_MAP'),
      gidMap: this.map('gidMap', 'CVMFS_GID_MAP'),
      worldReadable: this.values.pick('worldReadable', 'CVMFS_WORLD_READABLE', yesOrNo, false).value,
      magicXattrs: this.magicXattrs(),
      variables: encodeVariables(this.variables()),
      inodeBits: this.values.pick<32 | 64>('inodeBits', undefined, () => undefined, 64).value,
      speculation: this.values.pick<'on' | 'off'>('speculation', undefined, () => undefined, 'on').value,
      speculationMaxObjects: this.values.pick('speculationMaxObjects', undefined, wholeNumber, 96).value,
      speculationMaxBytes: this.values.pick('speculationMaxBytes', undefined, wholeNumber, 64e6).value,
      ...this.cache(),
      driver: config.fuse.driver,
      dataPath: config.fuse.dataPath,
      readers: config.fuse.maxReaders,
      maxBackground: config.fuse.maxBackground,
    } satisfies Record<keyof RepositoryConfig, unknown>);
    return { config: built, entries: this.values.entries, warnings };
  }

  private unknownParameters(): ConfigWarning[] {
    const unknown = checkParameters(this.parameters);
    if (unknown.length === 0) return [];
    const shown = unknown.slice(0, 20).map((name) => `${name} (${originText(parameterOrigin(name, this.parameters.get(name)!))})`);
    const text = `not known, good for variant symlinks only: ${shown.join(', ')}${unknown.length > 20 ? ` and ${unknown.length - 20} more` : ''}; see docs/parameters.md`;
    return [{ code: 'UNKNOWN_PARAMETERS', title: 'unknown CVMFS parameters', text, severity: 'info', subject: this.fqrn }];
  }

  private servers(): string[] {
    const flag = this.flags.servers;
    const found: Found<readonly string[]> =
      flag !== undefined && flag.length > 0 ? { value: flag, origin: { kind: 'flag', flag: '--server' }, layer: 4 } : this.values.find('servers', 'CVMFS_SERVER_URL', chain, []);
    if (found.value.length === 0) {
      throw new Failure('CONFIG_INVALID', `no server is configured for ${this.fqrn}`, { next: `give --server URL, servers in [repositories."${this.fqrn}"], or CVMFS_SERVER_URL` });
    }
    const servers = this.urls(found);
    const max = this.values.pick<number | null>('maxServers', 'CVMFS_MAX_SERVERS', wholeNumber, null).value;
    this.values.note('servers', { ...found, value: servers });
    return max === null || max === 0 ? servers : servers.slice(0, max);
  }

  private externalServers(): string[] {
    const found = this.values.find<readonly string[]>('externalServers', 'CVMFS_EXTERNAL_URL', chain, []);
    const servers = this.urls(found);
    this.values.note('externalServers', { ...found, value: servers });
    const max = this.parameters.get('CVMFS_EXTERNAL_MAX_SERVERS');
    const count = max === undefined || max.value === '' ? 0 : this.values.parsed('CVMFS_EXTERNAL_MAX_SERVERS', max, wholeNumber);
    return count === 0 ? servers : servers.slice(0, count);
  }

  private urls({ value, origin }: Found<readonly string[]>): string[] {
    return value.map((given) => {
      const url = substitute(given, this.fqrn);
      if (!isServerUrl(url)) {
        const shown = String(harmlessValue(given)).slice(0, 200);
        throw new Failure(origin.kind === 'flag' ? 'INVALID_ARGUMENT' : 'CONFIG_INVALID', `${originText(origin)}: "${shown}" is not the URL of a server`, { next: 'write http:// or https:// and no credentials' });
      }
      return url.replace(/\/+$/, '');
    });
  }

  private proxyGroups(): string[][] {
    const flag = this.flags.proxy;
    const found: Found<string> = flag === undefined ? this.values.find('proxies', 'CVMFS_HTTP_PROXY', proxyText, DIRECT) : { value: checked('--proxy', flag), origin: { kind: 'flag', flag: '--proxy' }, layer: 4 };
    const fallback = this.values.pick<string | null>('fallbackProxies', 'CVMFS_FALLBACK_PROXY', proxyText, null);
    this.values.note('proxies', found);
    const groups = parseProxyGroups(found.value);
    // A fallback of a weaker layer does not take DIRECT away from who asks for it in a stronger one.
    if (fallback.value === null || fallback.layer < found.layer) return groups;
    const all = withFallbackProxies(groups, parseProxyGroups(fallback.value));
    if (all.length === 0) throw new Failure('CONFIG_INVALID', `${originText(fallback.origin)}: fallback proxies take DIRECT away and leave none`, { next: 'name a proxy, or remove the fallback' });
    return all;
  }

  private blacklists(): string[] {
    const fallback = `${this.options.parameterDir ?? DEFAULT_PARAMETER_DIR}/blacklist`;
    const found = this.values.pick<string | null>('blacklist', 'CVMFS_BLACKLIST', (value) => value, null);
    if (found.value !== null) return [this.values.read(found.value, found.origin, 'CONFIG_INVALID', 'blacklist')];
    const text = this.options.files.read(fallback);
    return text === undefined ? [] : [text];
  }

  private map(field: 'uidMap' | 'gidMap', parameter: string): string {
    const found = this.values.pick<string | null>(field, parameter, (value) => value, null);
    return found.value === null ? '' : this.values.read(found.value, found.origin, 'CONFIG_INVALID', 'map');
  }

  /** The stock client's own default.conf sets CVMFS_CLAIM_OWNERSHIP=yes, which would take every image its owners: -o only. */
  private claimOwnership(): boolean {
    const parameter = this.parameters.get('CVMFS_CLAIM_OWNERSHIP')?.file === OPTION ? 'CVMFS_CLAIM_OWNERSHIP' : undefined;
    return this.values.pick('claimOwnership', parameter, yesOrNo, false).value;
  }

  private magicXattrs(): MagicXattrVisibility {
    const hide = this.parameters.get('CVMFS_HIDE_MAGIC_XATTRS');
    const hidden = hide !== undefined && hide.value !== '' && this.values.parsed('CVMFS_HIDE_MAGIC_XATTRS', hide, yesOrNo);
    const visibility = (value: string): MagicXattrVisibility | undefined => (['rootonly', 'always', 'never'] as const).find((choice) => choice === value);
    return this.values.pick('magicXattrs', 'CVMFS_MAGIC_XATTRS_VISIBILITY', visibility, hidden ? 'never' : 'rootonly').value;
  }

  /**
   * Environment, then parameters, then `variables` of the configuration file. A repository's publisher chooses which
   * variables a link shows, and every user and container of the host can read the link: what the environment's names call
   * a secret stays out.
   */
  private variables(): Map<string, Buffer> {
    const variables = new Map<string, Buffer>();
    for (const [name, value] of this.options.environment) if (!SECRET_NAME.test(name) && name !== '__proto__' && name.length <= 1024) variables.set(name, value);
    variables.set('CVMFS_ARCH', Buffer.from(this.options.architecture));
    for (const [name, { value }] of this.parameters) variables.set(name, Buffer.from(value));
    const own = this.values.pick<Readonly<Record<string, string>>>('variables', undefined, () => undefined, {}).value;
    for (const [name, value] of Object.entries(own)) variables.set(name, Buffer.from(value));
    variables.set('CVMFS_FQRN', Buffer.from(this.fqrn));
    return variables;
  }

  /** In files these parameters mean the stock client's cache, so they count on the command line only. */
  private cache(): { cacheDir: string; cacheLimitBytes: number } {
    const { config } = this.options;
    const option = <T>(name: string, parse: (value: string) => T | undefined): T | undefined => {
      const parameter = this.parameters.get(name);
      if (parameter === undefined || parameter.file !== OPTION) return undefined;
      const value = this.values.parsed(name, parameter, parse);
      this.values.entries.push({ key: `${this.values.prefix}.${name}`, value, origin: parameterOrigin(name, parameter), redacted: false });
      return value;
    };
    const flagged = config.entries().some(({ key, origin }) => key === 'cache.dir' && origin.kind === 'flag');
    const dir = flagged ? undefined : option('CVMFS_CACHE_DIR', (value) => (value.startsWith('/') ? value : undefined));
    const limit = option('CVMFS_QUOTA_LIMIT', (value) => (/^[1-9][0-9]{0,9}$/.test(value) ? Number(value) * 1e6 : undefined));
    return { cacheDir: dir ?? config.cache.dir, cacheLimitBytes: limit ?? config.cache.limitBytes };
  }

}

function checked(flag: string, value: string): string {
  try {
    return proxyText(value);
  } catch (error) {
    const { what, next } = Failure.from(error);
    throw new Failure('INVALID_ARGUMENT', `${flag}: ${what}`, next === undefined ? {} : { next });
  }
}

function proxyText(value: string): string {
  parseProxyGroups(value);
  return value;
}

function chain(value: string): string[] {
  return value.split(';').map((url) => url.trim()).filter((url) => url !== '');
}

const yesOrNo = parameterBoolean;

function wholeNumber(value: string): number | undefined {
  return /^[0-9]{1,9}$/.test(value) ? Number(value) : undefined;
}

function scaled(factorMs: number): (value: string) => number | undefined {
  return (value) => {
    const number = wholeNumber(value);
    return number === undefined ? undefined : number * factorMs;
  };
}

const seconds = scaled(1000);
const minutes = scaled(60_000);
