/**
 * The configuration of this host: /etc/mesos-cvmfs/config.toml, read strictly. An unknown key is an error with a
 * suggestion, since a misspelt limit that is silently ignored is found out in the worst night of the year. Each value knows
 * where it comes from.
 */
import { Failure } from '../error';
import type { ConfigFiles } from './host-files';
import type { ConfigEntry, Origin } from './origin';
import { withoutPasswords } from './proxy-groups';
import { isFqrn } from './repository-config';
import { CACHE, FACADE, FUSE, ISOLATOR, LIMITS, PROVISIONER, REPOSITORY, SECTIONS, TOP, type Section, type SectionValues } from './schema';
import { suggest } from './suggest';
import { parseToml, type TomlFile } from './toml-file';

export const DEFAULT_CONFIG_FILE = '/etc/mesos-cvmfs/config.toml';

/** What the file says of one repository; undefined fields come from the CVMFS_* parameters and defaults. */
export interface RepositorySettings {
  readonly fqrn: string;
  readonly values: SectionValues<typeof REPOSITORY>;
  originOf(field: keyof typeof REPOSITORY): Origin;
}

export interface Config extends SectionValues<typeof TOP> {
  /** The file that was read, undefined when there is none. */
  readonly file: string | undefined;
  readonly repositories: ReadonlyMap<string, RepositorySettings>;
  readonly provisioner: SectionValues<typeof PROVISIONER>;
  readonly cache: SectionValues<typeof CACHE>;
  readonly facade: SectionValues<typeof FACADE>;
  readonly isolator: SectionValues<typeof ISOLATOR>;
  readonly fuse: SectionValues<typeof FUSE>;
  readonly limits: SectionValues<typeof LIMITS>;
  /** Every value with its origin; of repositories what the file sets (`BuiltRepository.entries` has the rest). */
  entries(): ConfigEntry[];
}

/** Flags that stand for a key of the file, with their values. */
export interface ConfigFlags {
  readonly runDir?: string | undefined;
  readonly cacheDir?: string | undefined;
}

export interface LoadOptions {
  readonly files: ConfigFiles;
  /** `--config`; it must exist then. */
  readonly file?: string | undefined;
  readonly flags?: ConfigFlags | undefined;
}

/** Reads the file, or the defaults when no file is named and there is none. Throws CONFIG_INVALID with file, line and key. */
export function loadConfig({ files, file, flags }: LoadOptions): Config {
  const text = files.read(file ?? DEFAULT_CONFIG_FILE);
  if (text === undefined && file !== undefined) throw new Failure('CONFIG_INVALID', `the configuration file ${file} does not exist`, { next: 'check --config' });
  return parseConfig(text ?? '', text === undefined ? undefined : (file ?? DEFAULT_CONFIG_FILE), flags);
}

/** The same from a text. */
export function parseConfig(text: string, file: string | undefined, flags: ConfigFlags = {}): Config {
  const reader = new Reader(parseToml(text, file ?? 'configuration'), file ?? 'configuration');
  const top = reader.section(TOP, [], [...Object.keys(SECTIONS), 'repositories']);
  const provisioner = reader.section(PROVISIONER, ['provisioner']);
  const cache = reader.section(CACHE, ['cache']);
  const facade = reader.section(FACADE, ['facade']);
  const isolator = reader.section(ISOLATOR, ['isolator']);
  const fuse = reader.section(FUSE, ['fuse']);
  const limits = reader.section(LIMITS, ['limits']);
  const repositories = reader.repositories();

  if (flags.runDir !== undefined) reader.override(top, TOP, [], 'runDir', flags.runDir, '--run-dir');
  if (flags.cacheDir !== undefined) reader.override(cache, CACHE, ['cache'], 'dir', flags.cacheDir, '--cache-dir');
  // The socket lives in run_dir unless somebody says otherwise.
  if (reader.origin(['listen']).kind === 'default') reader.override(top, TOP, [], 'listen', `unix://${top.runDir}/provisioner.sock`);

  reader.check(facade.enabled && facade.dockerStoreDir === undefined, ['facade', 'enabled'], 'facade.enabled needs facade.docker_store_dir', 'set it to the agent’s --docker_store_dir');
  reader.check(
    facade.fallbackRegistries.length > 0 && facade.auth !== 'secret',
    ['facade', 'fallback_registries'],
    'facade.fallback_registries needs facade.auth = "secret"',
    'without it every local process could use the registries',
  );
  reader.check(
    facade.enabled && facade.auth !== 'secret' && !isLoopback(facade.listen.host),
    ['facade', 'listen'],
    `facade.listen ${facade.listen.host} is not a loopback address and facade.auth is "none"`,
    'listen on 127.0.0.1, or set facade.auth = "secret": others could have images linked on this host',
  );
  for (const name of provisioner.imageRepositories) {
    reader.check(!repositories.has(name), ['provisioner', 'image_repositories'], `provisioner.image_repositories names ${name}, which is not configured`, `add [repositories."${name}"]`);
  }
  for (const name of isolator.allowedRepositories) {
    reader.check(!repositories.has(name), ['isolator', 'allowed_repositories'], `isolator.allowed_repositories names ${name}, which is not configured`, `add [repositories."${name}"]`);
  }
  reader.check(isolator.socket === top.listen, ['isolator', 'socket'], `isolator.socket ${isolator.socket} is listen as well`, 'remove it: the service is offered there anyway');
  // state_dir is root's alone; the servers, which own the cache, could not reach one inside it.
  reader.check(isWithin(cache.dir, top.stateDir), ['cache', 'dir'], `cache.dir ${cache.dir} lies in state_dir ${top.stateDir}`, 'choose a directory outside of it');
  for (const [key, dir] of [['state_dir', top.stateDir], ['run_dir', top.runDir], ['cache.dir', cache.dir]] as const) {
    reader.check(isWithin(dir, top.mountRoot), key.split('.'), `${key} ${dir} lies in mount_root ${top.mountRoot}`, 'choose a directory outside of it');
  }
  return { ...top, file, repositories, provisioner, cache, facade, isolator, fuse, limits, entries: () => reader.entries };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host);
}

function isWithin(dir: string, parent: string): boolean {
  return dir === parent || parent === '/' || dir.startsWith(`${parent}/`);
}

/** Goes through the parsed file, table by table, and notes each value's origin. */
class Reader {
  readonly entries: ConfigEntry[] = [];

  constructor(
    private readonly toml: TomlFile,
    private readonly file: string,
  ) {}

  section<S extends Section>(section: S, path: readonly string[], others: readonly string[] = []): { -readonly [K in keyof S]: S[K]['fallback'] } {
    const table = this.table(path);
    const keys = Object.values(section).map(({ key }) => key);
    for (const key of Object.keys(table)) if (!keys.includes(key) && !others.includes(key)) throw this.unknownKey([...path, key], [...keys, ...others]);
    const values: Record<string, unknown> = {};
    for (const [field, { key, type, fallback }] of Object.entries(section)) {
      const given = Object.hasOwn(table, key) ? table[key] : undefined;
      values[field] = given === undefined ? fallback : this.parse(type, given, [...path, key]);
      if (values[field] !== undefined) this.note([...path, key], values[field], type, given === undefined ? { kind: 'default' } : this.at([...path, key]));
    }
    return values as { -readonly [K in keyof S]: S[K]['fallback'] };
  }

  repositories(): Map<string, RepositorySettings> {
    const found = new Map<string, RepositorySettings>();
    for (const fqrn of Object.keys(this.table(['repositories']))) {
      const path = ['repositories', fqrn];
      if (!isFqrn(fqrn)) throw this.failure(path, `"${fqrn}" is not the name of a repository`, 'write [repositories."images.example.org"], with the quotes');
      const values = this.section(REPOSITORY, path);
      const fixed = [values.tag, values.rootHash, values.date].filter((value) => value !== undefined).length;
      this.check(fixed > 1, path, `${display(path)} has more than one of tag, root_hash and date`, 'keep one');
      found.set(fqrn, { fqrn, values, originOf: (field) => this.origin([...path, REPOSITORY[field].key]) });
    }
    return found;
  }

  /** Puts a value in place of what the file says; without a flag it is a derived default. */
  override<S extends Section>(values: Record<keyof S, unknown>, section: S, path: readonly string[], field: keyof S & string, value: unknown, flag?: string): void {
    const { key, type } = section[field]!;
    let parsed: unknown;
    try {
      parsed = type.parse(value);
    } catch (error) {
      throw flag === undefined ? error : new Failure('INVALID_ARGUMENT', `${flag}: ${Failure.from(error).what}`);
    }
    if (parsed === undefined) throw new Failure('INVALID_ARGUMENT', `${flag ?? display([...path, key])}: expected ${type.expected}, got ${JSON.stringify(value)}`);
    values[field] = parsed;
    const old = this.entries.findIndex((entry) => entry.key === display([...path, key]));
    if (old >= 0) this.entries.splice(old, 1);
    this.note([...path, key], parsed, type, flag === undefined ? { kind: 'default' } : { kind: 'flag', flag });
  }

  origin(path: readonly string[]): Origin {
    return this.entries.find((entry) => entry.key === display(path))?.origin ?? { kind: 'default' };
  }

  check(wrong: boolean, path: readonly string[], what: string, next: string): void {
    if (wrong) throw this.failure(path, what, next);
  }

  private table(path: readonly string[]): Record<string, unknown> {
    let value: unknown = this.toml.data;
    for (const [depth, key] of path.entries()) {
      value = Object.hasOwn(value as object, key) ? (value as Record<string, unknown>)[key] : {};
      if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
        const at = path.slice(0, depth + 1);
        throw this.failure(at, `${display(at)}: expected a table`, `write [${display(at)}] on a line of its own`);
      }
    }
    return value as Record<string, unknown>;
  }

  private parse(type: Section[string]['type'], given: unknown, path: readonly string[]): unknown {
    let parsed: unknown;
    try {
      parsed = type.parse(given);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw this.failure(path, `${display(path)}: ${error.what}`, error.next ?? `expected ${type.expected}`);
    }
    if (parsed === undefined) throw this.failure(path, `${display(path)}: expected ${type.expected}, got ${shape(given)}`);
    return parsed;
  }

  private note(path: readonly string[], value: unknown, type: Section[string]['type'], origin: Origin): void {
    const shown = type.show === undefined ? value : type.show(value);
    const harmless = harmlessValue(shown, path[path.length - 1]);
    this.entries.push({ key: display(path), value: harmless, origin, redacted: JSON.stringify(harmless) !== JSON.stringify(shown) });
  }

  private at(path: readonly string[]): Origin {
    const line = this.toml.lineOf(path);
    return { kind: 'file', file: this.file, ...(line === undefined ? {} : { line }) };
  }

  private unknownKey(path: readonly string[], known: readonly string[]): Failure {
    const key = path[path.length - 1]!;
    const near = suggest(key, known);
    const next = elsewhere(key) ?? (near !== undefined ? `did you mean ${display([...path.slice(0, -1), near])}?` : `known are ${[...known].sort().join(', ')}`);
    return this.failure(path, `unknown key ${display(path)}`, next);
  }

  private failure(path: readonly string[], what: string, next?: string): Failure {
    const line = this.toml.lineOf(path);
    const where = line === undefined ? this.file : `${this.file}:${line}`;
    return new Failure('CONFIG_INVALID', `${where}: ${what}`, { ...(next === undefined ? {} : { next }), data: { key: display(path), file: this.file, ...(line === undefined ? {} : { line }) } });
  }
}

/** A key that exists, in another table. */
function elsewhere(key: string): string | undefined {
  const tables: (readonly [string, Section])[] = [['', TOP], ...Object.entries(SECTIONS).map(([name, section]) => [`[${name}]`, section] as const), ['[repositories."…"]', REPOSITORY]];
  const found = tables.find(([, section]) => Object.values(section).some((setting) => setting.key === key));
  return found === undefined ? undefined : `${key} belongs ${found[0] === '' ? 'before the first table' : `into ${found[0]}`}`;
}

function display(path: readonly string[]): string {
  return path.map((part) => (/^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part))).join('.');
}

function shape(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return JSON.stringify(withoutPasswords(value).slice(0, 100));
  return typeof value === 'object' ? 'a table' : String(value);
}

/** The value as `config dump` may show it: passwords of proxies and what the names of variables call a secret are gone. */
export function harmlessValue(value: unknown, key?: string): unknown {
  if (typeof value === 'string') return key !== undefined && SECRET_NAME.test(key) ? '[redacted]' : withoutPasswords(value);
  if (Array.isArray(value)) return value.map((element) => harmlessValue(element));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, harmlessValue(held, name)]));
}

/** Names of variables whose values are nobody's business. */
export const SECRET_NAME = /pass(word|wd|phrase)?($|_)|secret|token|credential|api_?key|private_?key|access_?key/i;
