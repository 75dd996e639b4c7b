import * as fs from 'node:fs';
import * as path from 'node:path';
import { loadConfig, parseConfig } from '../../../src/config/config';
import { originText } from '../../../src/config/origin';
import { CACHE, FACADE, FUSE, ISOLATOR, LIMITS, PROVISIONER, REPOSITORY, TOP } from '../../../src/config/schema';
import { suggest } from '../../../src/config/suggest';

const EXAMPLE = `# the least that works is one repository; the rest shows defaults
state_dir  = "/var/lib/mesos-cvmfs"
run_dir    = "/run/mesos-cvmfs"
mount_root = "/cvmfs"
listen     = "unix:///run/mesos-cvmfs/provisioner.sock"   # Provisioner, Isolator and Admin share it
http       = "127.0.0.1:61081"

[repositories."images.example.org"]
servers     = ["http://s1.example.org/cvmfs/@fqrn@"]
proxies     = "http://squid1:3128|http://squid2:3128;DIRECT"
public_keys = ["/etc/cvmfs/keys/example.org/images.example.org.pub"]
max_ttl     = "15m"

[provisioner]
image_repositories   = ["images.example.org"]
image_config_sources = ["oci:/srv/registry", "docker://registry.example.org"]
backend              = "overlay"

[cache]
dir   = "/var/cache/mesos-cvmfs"
limit = "20 GB"

[facade]
enabled          = true
listen           = "127.0.0.1:61080"
docker_store_dir = "/var/lib/mesos-store/docker"
`;

const refusal = (text: string): string => {
  try {
    parseConfig(text, '/etc/x.toml');
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    return (error as Error).message;
  }
  throw new Error('was accepted');
};

describe('the configuration file', () => {
  it('reads the example of the documentation', () => {
    const config = parseConfig(EXAMPLE, '/etc/x.toml');
    expect(config).toMatchObject({
      file: '/etc/x.toml',
      stateDir: '/var/lib/mesos-cvmfs',
      http: { host: '127.0.0.1', port: 61081 },
      serverUser: 'mesos-cvmfs',
      logLevel: 'info',
      cache: { dir: '/var/cache/mesos-cvmfs', limitBytes: 20e9 },
      provisioner: { backend: 'overlay', completeAfterMs: 3_600_000, imageConfigSources: ['oci:/srv/registry', 'docker://registry.example.org'] },
      facade: { enabled: true, dockerStoreDir: '/var/lib/mesos-store/docker', auth: 'none' },
      fuse: { driver: 'kernel' },
    });
    const repository = config.repositories.get('images.example.org')!;
    expect(repository.values).toMatchObject({ maxTtlMs: 900_000, mount: 'own', inodeBits: undefined });
    expect(originText(repository.originOf('maxTtlMs'))).toBe('/etc/x.toml:12');
  });

  it('is all defaults when it is empty or absent, and must exist when it was named', () => {
    const files = { read: () => undefined, list: () => [] };
    const config = loadConfig({ files });
    expect(config.file).toBeUndefined();
    expect(config.repositories.size).toBe(0);
    expect(config.listen).toBe('unix:///run/mesos-cvmfs/provisioner.sock');
    expect(config.entries().every(({ origin }) => origin.kind === 'default')).toBe(true);
    expect(() => loadConfig({ files, file: '/none.toml' })).toThrow(/none\.toml does not exist/);
  });

  it('tells each value with where it comes from', () => {
    const config = parseConfig('http = "[::1]:0"\n[cache]\nlimit = "1 GiB"', '/c.toml', { cacheDir: '/mnt/cache', runDir: '/run/other' });
    const shown = Object.fromEntries(config.entries().map(({ key, value, origin }) => [key, [value, originText(origin)]]));
    expect(shown['http']).toEqual(['[::1]:0', '/c.toml:1']);
    expect(shown['cache.limit']).toEqual(['1 GiB', '/c.toml:3']);
    expect(shown['cache.dir']).toEqual(['/mnt/cache', '--cache-dir']);
    expect(shown['run_dir']).toEqual(['/run/other', '--run-dir']);
    expect(shown['listen']).toEqual(['unix:///run/other/provisioner.sock', 'default']);
    expect(shown['provisioner.complete_after']).toEqual(['1h', 'default']);
    expect(config.listen).toBe('unix:///run/other/provisioner.sock');
  });

  it('shows no password', () => {
    const config = parseConfig('[repositories."a.b"]\nproxies = "http://u:hunter2@p:1;http://u2:hunter2@q:1"\nvariables = { API_TOKEN = "hunter2", OS = "linux" }', '/c.toml');
    expect(JSON.stringify(config.entries())).not.toContain('hunter2');
    const entries = config.entries().filter(({ redacted }) => redacted);
    expect(entries.map(({ key }) => key)).toEqual(['repositories."a.b".proxies', 'repositories."a.b".variables']);
    expect(JSON.stringify(entries)).toContain('linux');
    expect(config.repositories.get('a.b')?.values.proxies).toContain('hunter2');
  });

  it.each([
    ['\nstate_dri = "/x"', '/etc/x.toml:2: unknown key state_dri; did you mean state_dir?'],
    ['[repositores."a.b"]\n', '/etc/x.toml:1: unknown key repositores; did you mean repositories?'],
    ['[repositories."a.b"]\nserver = ["http://x"]', '/etc/x.toml:2: unknown key repositories."a.b".server; did you mean repositories."a.b".servers?'],
    ['limit = "1 GB"', '/etc/x.toml:1: unknown key limit; limit belongs into [cache]'],
    ['backend = "bind"', '/etc/x.toml:1: unknown key backend; backend belongs into [provisioner]'],
    ['[cache]\nzzz = 1', '/etc/x.toml:2: unknown key cache.zzz; known are dir, limit'],
    ['[cache]\nlimit = 20', '/etc/x.toml:2: cache.limit: expected a size such as "20 GB" or "512 MiB", got 20'],
    ['[cache]\nlimit = "20"', '/etc/x.toml:2: cache.limit: "20" is not a size; write it with a unit'],
    ['cache = 3', '/etc/x.toml:1: cache: expected a table; write [cache] on a line of its own'],
    ['repositories = []', '/etc/x.toml:1: repositories: expected a table'],
    ['http = "61081"', '/etc/x.toml:1: http: expected an address and port'],
    ['http = "127.0.0.1:70000"', 'expected an address and port'],
    ['run_dir = "run"', 'expected an absolute path'],
    ['run_dir = "/run/../etc"', 'expected an absolute path'],
    ['listen = "tcp://127.0.0.1:1"', 'expected the address of a unix socket'],
    [`listen = "unix:///${'x'.repeat(107)}"`, "has 108 bytes, the system's limit is 107"],
    [`run_dir = "/run/${'x'.repeat(100)}"`, "the system's limit is 107"],
    ['[repositories."../x"]', 'is not the name of a repository'],
    ['[repositories.images.example.org]\nservers = ["http://x"]', 'unknown key repositories.images.example'],
    ['[repositories."a.b"]\ntag = "x"\nroot_hash = "0123456789012345678901234567890123456789"', 'more than one of tag, root_hash and date'],
    ['[repositories."a.b"]\nservers = "http://x"', 'expected a list, each a URL'],
    ['[repositories."a.b"]\nservers = ["http://u:p@x"]', 'without credentials'],
    ['[repositories."a.b"]\nproxies = "auto"', 'PAC'],
    ['[repositories."a.b"]\ninode_bits = 48', 'expected 64 or 32, got 48'],
    ['[provisioner]\nimage_repositories = ["a.b"]', 'names a.b, which is not configured; add [repositories."a.b"]'],
    ['[provisioner]\nimage_config_sources = ["http://x"]', 'expected a list, each "oci:/path"'],
    ['[facade]\nenabled = true', 'facade.enabled needs facade.docker_store_dir'],
    ['[isolator]\nallowed_repositories = ["data.example.org"]', 'isolator.allowed_repositories names data.example.org, which is not configured'],
    ['[isolator]\nsocket = "unix:///run/mesos-cvmfs/provisioner.sock"', 'is listen as well'],
    ['[facade]\nenabled = true\ndocker_store_dir = "/s"\nlisten = "0.0.0.0:61080"', 'is not a loopback address'],
    ['[facade]\nfallback_registries = ["r.example.org"]', 'needs facade.auth = "secret"'],
    ['[cache]\ndir = "/var/lib/mesos-cvmfs/cache"', 'lies in state_dir'],
    ['run_dir = "/cvmfs/run"', 'lies in mount_root'],
    ['a = ', '/etc/x.toml:1:'],
    ['a = 1\na = 2', '/etc/x.toml:2:'],
    ['__proto__ = 1', '/etc/x.toml:1'],
  ])('refuses %j', (text, expected) => {
    expect(refusal(text)).toContain(expected);
  });

  it('names the flag that is wrong', () => {
    expect(() => parseConfig('', undefined, { runDir: 'relative' })).toThrow(/--run-dir: expected an absolute path/);
  });

  it('finds lines behind dotted keys, quotes and multi-line lists', () => {
    const config = parseConfig('[repositories]\n"a.b".servers = [\n  "http://s/x=y",\n]\n"a.b".tag = "t"\n', '/c.toml');
    expect(originText(config.repositories.get('a.b')!.originOf('tag'))).toBe('/c.toml:5');
    expect(originText(config.repositories.get('a.b')!.originOf('servers'))).toBe('/c.toml:2');
  });
});

describe('suggest', () => {
  it('finds the near and leaves the far', () => {
    expect(suggest('publicKeys', ['public_keys', 'proxies'])).toBe('public_keys');
    expect(suggest('max-tll', ['max_ttl'])).toBe('max_ttl');
    expect(suggest('zebra', ['dir', 'limit'])).toBeUndefined();
    expect(suggest('x'.repeat(100_000), ['dir'])).toBeUndefined();
  });
});

describe('docs/configuration.md', () => {
  const docs = fs.readFileSync(path.resolve(__dirname, '../../../docs/configuration.md'), 'utf8');

  it.each(
    Object.entries({ '': TOP, repositories: REPOSITORY, provisioner: PROVISIONER, cache: CACHE, facade: FACADE, isolator: ISOLATOR, fuse: FUSE, limits: LIMITS }).flatMap(([section, settings]) =>
      Object.values(settings).map(({ key, fallback, type }) => ({ section, key, fallback: fallback as unknown, type: type as { show?: (value: unknown) => unknown } })),
    ),
  )('describes $section.$key with its default', ({ section, key, fallback, type }) => {
    const heading = section === '' ? '## Top level' : section === 'repositories' ? '## `[repositories."<fqrn>"]`' : `## \`[${section}]\``;
    const start = docs.indexOf(`${heading}\n`);
    expect(start).toBeGreaterThan(0);
    const next = docs.indexOf('\n## ', start);
    const row = docs.slice(start, next < 0 ? undefined : next).split('\n').find((line) => line.startsWith(`| \`${key}\` |`));
    expect(row).toBeDefined();
    if (fallback !== undefined) expect(row).toContain(`| \`${JSON.stringify(type.show?.(fallback) ?? fallback)}\` |`);
  });

  it('names no key that does not exist, and its examples are valid', () => {
    const known = new Set([TOP, REPOSITORY, PROVISIONER, CACHE, FACADE, ISOLATOR, FUSE, LIMITS].flatMap((section) => Object.values(section).map(({ key }) => key)));
    for (const [, key] of docs.matchAll(/^\| `([a-z_]+)` \|/gm)) expect(known).toContain(key);
    const examples = [...docs.matchAll(/```toml\n([\s\S]*?)```/g)].map(([, text]) => text!);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(() => parseConfig(example, 'example')).not.toThrow();
  });
});
