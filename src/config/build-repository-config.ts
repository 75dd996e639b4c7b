/**
 * Puts one repository's configuration together. For each value the first that says something wins:
 *
 *   flag (--server, --proxy, --public-key, --tag, --root-hash)  >  -o CVMFS_X=Y  >  configuration file  >  files of
 *   /etc/cvmfs  >  default
 *
 * Keys, maps and blacklists are read here and travel as texts. The environment's `http_proxy` is never looked at.
 */
import * as crypto from 'node:crypto';
import { Failure } from '../error';
import { harmlessValue, SECRET_NAME, type Config } from './config';
import type { ConfigFiles } from './host-files';
import { originText, type ConfigEntry, type ConfigWarning, type Origin } from './origin';
import { checkParameters } from './parameter-table';
import type { Parameter } from './parameter-file';
import { DEFAULT_PARAMETER_DIR, OPTION, parameterBoolean, parameterOrigin, substitute, type Parameters } from './parameters';
import { DIRECT, parseProxyGroups, withFallbackProxies } from './proxy-groups';
import { CATALOG_HASH, checkRepositoryConfig, encodeVariables, type FixedRevision, type MagicXattrVisibility, type RepositoryConfig } from './repository-config';
import { REPOSITORY } from './schema';
import { isServerUrl, parseDate } from './value-types';

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

type Field = keyof typeof REPOSITORY;
/** 3: -o, 2: configuration file, 1: parameter file; strongest first. A flag is 4, a default 0. */
const LAYERS = [3, 2, 1] as const;
type Layer = (typeof LAYERS)[number];
interface Found<T> {
  readonly value: T;
  readonly origin: Origin;
  readonly layer: Layer | 0 | 4;
}

class Builder {
  private readonly fqrn: string;
  private readonly parameters: ReadonlyMap<string, Parameter>;
  private readonly flags: RepositoryFlags;
  private readonly entries: ConfigEntry[] = [];

  constructor(private readonly options: BuildOptions) {
    this.fqrn = options.fqrn;
    this.parameters = options.parameters.values;
    this.flags = options.flags ?? {};
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
      externalProxyGroups: parseProxyGroups(this.pick('externalProxies', 'CVMFS_EXTERNAL_HTTP_PROXY', proxyText, DIRECT).value),
      publicKeys: this.publicKeys(),
      blacklists: this.blacklists(),
      fixed: this.fixed(),
      autoUpdate: this.pick('autoUpdate', 'CVMFS_AUTO_UPDATE', yesOrNo, true).value,
      maxTtlMs: this.pick('maxTtlMs', 'CVMFS_MAX_TTL', minutes, 0).value || null,
      timeoutMs: this.pick('timeoutMs', 'CVMFS_TIMEOUT', seconds, 5_000).value,
      timeoutDirectMs: this.pick('timeoutDirectMs', 'CVMFS_TIMEOUT_DIRECT', seconds, 10_000).value,
      lowSpeedLimitBytesPerSecond: this.pick('lowSpeedLimitBytesPerSecond', 'CVMFS_LOW_SPEED_LIMIT', wholeNumber, 1024).value,
      maxRetries: this.pick('maxRetries', 'CVMFS_MAX_RETRIES', wholeNumber, 1).value,
      backoffInitMs: this.pick('backoffInitMs', 'CVMFS_BACKOFF_INIT', seconds, 2_000).value,
      backoffMaxMs: this.pick('backoffMaxMs', 'CVMFS_BACKOFF_MAX', seconds, 10_000).value,
      proxyResetAfterMs: this.pick('proxyResetAfterMs', 'CVMFS_PROXY_RESET_AFTER', seconds, 300_000).value,
      hostResetAfterMs: this.pick('hostResetAfterMs', 'CVMFS_HOST_RESET_AFTER', seconds, 1_800_000).value,
      requestDeadlineMs: this.pick('requestDeadlineMs', undefined, wholeNumber, 300_000).value,
      followRedirects: this.pick('followRedirects', 'CVMFS_FOLLOW_REDIRECTS', yesOrNo, false).value,
      infoHeader: this.pick('infoHeader', 'CVMFS_SEND_INFO_HEADER', yesOrNo, false).value,
      claimOwnership: this.pick('claimOwnership', 'CVMFS_CLAIM_OWNERSHIP', yesOrNo, false).value,
      uidMap: this.map('uidMap', 'CVMFS_UID_MAP'),
      gidMap: this.map('gidMap', 'CVMFS_GID_MAP'),
      worldReadable: this.pick('worldReadable', 'CVMFS_WORLD_READABLE', yesOrNo, false).value,
      magicXattrs: this.magicXattrs(),
      variables: encodeVariables(this.variables()),
      inodeBits: this.pick<32 | 64>('inodeBits', undefined, () => undefined, 64).value,
      ...this.cache(),
      driver: config.fuse.driver,
      dataPath: config.fuse.dataPath,
      readers: config.fuse.maxReaders,
      maxBackground: config.fuse.maxBackground,
    } satisfies Record<keyof RepositoryConfig, unknown>);
    return { config: built, entries: this.entries, warnings };
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
      flag !== undefined && flag.length > 0 ? { value: flag, origin: { kind: 'flag', flag: '--server' }, layer: 4 } : this.find('servers', 'CVMFS_SERVER_URL', chain, []);
    if (found.value.length === 0) {
      throw new Failure('CONFIG_INVALID', `no server is configured for ${this.fqrn}`, { next: `give --server URL, servers in [repositories."${this.fqrn}"], or CVMFS_SERVER_URL` });
    }
    const servers = this.urls(found);
    const max = this.pick<number | null>('maxServers', 'CVMFS_MAX_SERVERS', wholeNumber, null).value;
    this.note('servers', { ...found, value: servers });
    return max === null || max === 0 ? servers : servers.slice(0, max);
  }

  private externalServers(): string[] {
    const found = this.find<readonly string[]>('externalServers', 'CVMFS_EXTERNAL_URL', chain, []);
    const servers = this.urls(found);
    this.note('externalServers', { ...found, value: servers });
    const max = this.parameters.get('CVMFS_EXTERNAL_MAX_SERVERS');
    const count = max === undefined || max.value === '' ? 0 : this.parsed('CVMFS_EXTERNAL_MAX_SERVERS', max, wholeNumber);
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
    const found: Found<string> = flag === undefined ? this.find('proxies', 'CVMFS_HTTP_PROXY', proxyText, DIRECT) : { value: checked('--proxy', flag), origin: { kind: 'flag', flag: '--proxy' }, layer: 4 };
    const fallback = this.pick<string | null>('fallbackProxies', 'CVMFS_FALLBACK_PROXY', proxyText, null);
    this.note('proxies', found);
    const groups = parseProxyGroups(found.value);
    // A fallback of a weaker layer does not take DIRECT away from who asks for it in a stronger one.
    if (fallback.value === null || fallback.layer < found.layer) return groups;
    const all = withFallbackProxies(groups, parseProxyGroups(fallback.value));
    if (all.length === 0) throw new Failure('CONFIG_INVALID', `${originText(fallback.origin)}: fallback proxies take DIRECT away and leave none`, { next: 'name a proxy, or remove the fallback' });
    return all;
  }

  /** The strongest layer that names keys; within one, files win over a folder (spec 3.3). */
  private publicKeys(): string[] {
    const flag = this.flags.publicKeys;
    if (flag !== undefined && flag.length > 0) return this.keyFiles({ value: flag, origin: { kind: 'flag', flag: '--public-key' }, layer: 4 });
    for (const layer of LAYERS) {
      const keys = this.at(layer, 'publicKeys', 'CVMFS_PUBLIC_KEY', (value): readonly string[] => value.split(':').filter((name) => name !== ''));
      if (keys !== undefined && keys.value.length > 0) return this.keyFiles({ ...keys, value: keys.value.map((key) => substitute(key, this.fqrn)) });
      const dir = this.at(layer, 'keysDir', 'CVMFS_KEYS_DIR', (value) => value);
      if (dir !== undefined) return this.keyFolder({ ...dir, value: substitute(dir.value, this.fqrn) });
    }
    throw new Failure('CONFIG_INVALID', `no master public key is configured for ${this.fqrn}`, {
      next: `give --public-key FILE, public_keys in [repositories."${this.fqrn}"], or CVMFS_PUBLIC_KEY`,
    });
  }

  private keyFiles(found: Found<readonly string[]>): string[] {
    this.note('publicKeys', found);
    return found.value.map((file) => this.publicKey(file, found.origin));
  }

  private keyFolder(found: Found<string>): string[] {
    this.note('keysDir', found);
    const names = this.options.files.list(found.value).filter((name) => name.endsWith('.pub'));
    if (names.length === 0) throw new Failure('KEY_INVALID', `${originText(found.origin)}: no *.pub file in ${found.value}`, { next: 'put the repository’s master public key there' });
    return names.map((name) => this.publicKey(`${found.value}/${name}`, found.origin));
  }

  private publicKey(file: string, origin: Origin): string {
    const text = this.read(file, origin, 'KEY_INVALID', 'public key');
    const invalid = (why: string): Failure => new Failure('KEY_INVALID', `${file} (${originText(origin)}) ${why}`, { next: 'give the master public key, a PEM file that begins with -----BEGIN PUBLIC KEY-----' });
    // It would travel to an unprivileged process and be read as its public half.
    if (text.includes('PRIVATE KEY-----')) throw invalid('holds a private key');
    try {
      if (crypto.createPublicKey(text).asymmetricKeyType !== 'rsa') throw invalid('is not an RSA key');
    } catch (error) {
      throw error instanceof Failure ? error : invalid('is not a public key');
    }
    return text;
  }

  private blacklists(): string[] {
    const fallback = `${this.options.parameterDir ?? DEFAULT_PARAMETER_DIR}/blacklist`;
    const found = this.pick<string | null>('blacklist', 'CVMFS_BLACKLIST', (value) => value, null);
    if (found.value !== null) return [this.read(found.value, found.origin, 'CONFIG_INVALID', 'blacklist')];
    const text = this.options.files.read(fallback);
    return text === undefined ? [] : [text];
  }

  /** The strongest layer that fixes a revision; within one: root hash, tag, date (spec 5.2). */
  private fixed(): FixedRevision {
    const { tag, rootHash } = this.flags;
    if (tag !== undefined && rootHash !== undefined) throw new Failure('INVALID_ARGUMENT', '--tag and --root-hash exclude each other', { next: 'give one of them' });
    if (tag === '') throw new Failure('INVALID_ARGUMENT', '--tag is empty');
    if (rootHash !== undefined && !CATALOG_HASH.test(rootHash)) throw new Failure('INVALID_ARGUMENT', `--root-hash "${rootHash.slice(0, 80)}" is not a catalog hash`, { next: 'it has 40 hexadecimal digits' });
    const take = <T>(field: Field, found: Found<T> | undefined, make: (value: T) => FixedRevision): FixedRevision | undefined => {
      if (found !== undefined) this.note(field, found);
      return found === undefined ? undefined : make(found.value);
    };
    const byHash = (hash: string): FixedRevision => ({ kind: 'rootHash', hash });
    const byTag = (name: string): FixedRevision => ({ kind: 'tag', name });
    const byDate = (unixSeconds: number): FixedRevision => ({ kind: 'date', unixSeconds });
    if (tag !== undefined) return take('tag', { value: tag, origin: { kind: 'flag', flag: '--tag' }, layer: 4 }, byTag)!;
    if (rootHash !== undefined) return take('rootHash', { value: rootHash, origin: { kind: 'flag', flag: '--root-hash' }, layer: 4 }, byHash)!;
    for (const layer of LAYERS) {
      const fixed =
        take('rootHash', this.at(layer, 'rootHash', 'CVMFS_ROOT_HASH', (value) => (CATALOG_HASH.test(value) ? value : undefined)), byHash) ??
        take('tag', this.at(layer, 'tag', 'CVMFS_REPOSITORY_TAG', (value) => value), byTag) ??
        take('date', this.at(layer, 'date', 'CVMFS_REPOSITORY_DATE', parseDate), byDate);
      if (fixed !== undefined) return fixed;
    }
    return { kind: 'trunk' };
  }

  private map(field: 'uidMap' | 'gidMap', parameter: string): string {
    const found = this.pick<string | null>(field, parameter, (value) => value, null);
    return found.value === null ? '' : this.read(found.value, found.origin, 'CONFIG_INVALID', 'map');
  }

  private magicXattrs(): MagicXattrVisibility {
    const hide = this.parameters.get('CVMFS_HIDE_MAGIC_XATTRS');
    const hidden = hide !== undefined && hide.value !== '' && this.parsed('CVMFS_HIDE_MAGIC_XATTRS', hide, yesOrNo);
    const visibility = (value: string): MagicXattrVisibility | undefined => (['rootonly', 'always', 'never'] as const).find((choice) => choice === value);
    return this.pick('magicXattrs', 'CVMFS_MAGIC_XATTRS_VISIBILITY', visibility, hidden ? 'never' : 'rootonly').value;
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
    const own = this.pick<Readonly<Record<string, string>>>('variables', undefined, () => undefined, {}).value;
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
      const value = this.parsed(name, parameter, parse);
      this.entries.push({ key: `${this.prefix()}.${name}`, value, origin: parameterOrigin(name, parameter), redacted: false });
      return value;
    };
    const flagged = config.entries().some(({ key, origin }) => key === 'cache.dir' && origin.kind === 'flag');
    const dir = flagged ? undefined : option('CVMFS_CACHE_DIR', (value) => (value.startsWith('/') ? value : undefined));
    const limit = option('CVMFS_QUOTA_LIMIT', (value) => (/^[1-9][0-9]{0,9}$/.test(value) ? Number(value) * 1e6 : undefined));
    return { cacheDir: dir ?? config.cache.dir, cacheLimitBytes: limit ?? config.cache.limitBytes };
  }

  /** `find` and a line for `config dump`. */
  private pick<T>(field: Field, parameter: string | undefined, parse: (value: string) => T | undefined, fallback: T): Found<T> {
    const found = this.find(field, parameter, parse, fallback);
    this.note(field, found);
    return found;
  }

  private find<T>(field: Field, parameter: string | undefined, parse: (value: string) => T | undefined, fallback: T): Found<T> {
    for (const layer of LAYERS) {
      const found = this.at(layer, field, parameter, parse);
      if (found !== undefined) return found;
    }
    return { value: fallback, origin: { kind: 'default' }, layer: 0 };
  }

  /** What one layer says, undefined for nothing; an empty parameter says nothing. */
  private at<T>(layer: Layer, field: Field, name: string | undefined, parse: (value: string) => T | undefined): Found<T> | undefined {
    if (layer === 2) {
      const settings = this.options.config.repositories.get(this.fqrn);
      const value = settings?.values[field];
      return value === undefined ? undefined : { value: value as T, origin: settings!.originOf(field), layer };
    }
    const parameter = name === undefined ? undefined : this.parameters.get(name);
    if (parameter === undefined || parameter.value === '' || (parameter.file === OPTION) !== (layer === 3)) return undefined;
    return { value: this.parsed(name!, parameter, parse), origin: parameterOrigin(name!, parameter), layer };
  }

  private parsed<T>(name: string, parameter: Parameter, parse: (value: string) => T | undefined): T {
    const where = originText(parameterOrigin(name, parameter));
    const code = parameter.file === OPTION ? 'INVALID_ARGUMENT' : 'CONFIG_INVALID';
    let value: T | undefined;
    try {
      value = parse(parameter.value);
    } catch (error) {
      const { what, next } = Failure.from(error);
      throw new Failure(code, `${where}: ${what}`, next === undefined ? {} : { next });
    }
    if (value === undefined) throw new Failure(code, `${where}: the value "${String(harmlessValue(parameter.value)).slice(0, 200)}" is not one that ${name} can have`, { next: 'see docs/parameters.md' });
    return value;
  }

  private read(file: string, origin: Origin, code: 'KEY_INVALID' | 'CONFIG_INVALID', what: string): string {
    let text: string | undefined;
    try {
      text = this.options.files.read(file);
    } catch (error) {
      const failure = Failure.from(error);
      throw new Failure(code, `${originText(origin)}: ${failure.what}`, { cause: error, ...(failure.next === undefined ? {} : { next: failure.next }) });
    }
    if (text === undefined) throw new Failure(code, `${originText(origin)}: the ${what} ${file} does not exist`, { next: 'correct the path, or put the file there' });
    return text;
  }

  private note(field: Field, { value, origin }: Found<unknown>): void {
    const { key, type } = REPOSITORY[field];
    const shown = value === null || value === undefined ? null : ((type.show as ((value: unknown) => unknown) | undefined)?.(value) ?? value);
    const harmless = harmlessValue(shown);
    this.entries.push({ key: `${this.prefix()}.${key}`, value: harmless, origin, redacted: JSON.stringify(harmless) !== JSON.stringify(shown) });
  }

  private prefix(): string {
    return `repositories."${this.fqrn}"`;
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
