import * as crypto from 'node:crypto';
import { buildRepositoryConfig, type RepositoryFlags } from '../../../src/config/build-repository-config';
import { parseConfig } from '../../../src/config/config';
import { parseEnvironment } from '../../../src/config/environment';
import type { ConfigFiles } from '../../../src/config/host-files';
import { originText } from '../../../src/config/origin';
import { readParameters } from '../../../src/config/parameters';
import { parseRepositoryConfig } from '../../../src/config/repository-config';
import { variantVariables } from '../../../src/config/variant-variables';

const FQRN = 'images.example.org';
const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
const PEM = publicKey.export({ type: 'spki', format: 'pem' }) as string;
const HASH = '0123456789abcdef0123456789abcdef01234567';

interface Given {
  toml?: string;
  parameters?: string;
  options?: string[];
  flags?: RepositoryFlags;
  environment?: Record<string, string | Buffer>;
  extra?: Record<string, string>;
}

function build({ toml = '', parameters = '', options = [], flags = { servers: ['http://s'], publicKeys: ['/k/a.pub'] }, environment = {}, extra = {} }: Given = {}) {
  const texts: Record<string, string> = {
    '/e/default.local': parameters,
    '/k/a.pub': PEM,
    '/k/b.pub': PEM.replace(/\n$/, '\n\n'),
    '/k/readme': 'no key',
    '/k2/x': '',
    '/k/private': privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    '/k/bad': '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
    ...extra,
  };
  const files: ConfigFiles = {
    read: (file) => texts[file],
    list: (dir) => Object.keys(texts).filter((file) => file.startsWith(`${dir}/`)).map((file) => file.slice(dir.length + 1)).sort(),
  };
  return buildRepositoryConfig({
    fqrn: FQRN,
    config: parseConfig(toml, '/c.toml'),
    parameters: readParameters({ fqrn: FQRN, files, baseDir: '/e', options }),
    flags,
    environment: new Map(Object.entries(environment).map(([name, value]) => [name, Buffer.from(value)])),
    architecture: 'x86_64',
    files,
    parameterDir: '/e',
  });
}

const section = (lines: string): string => `[repositories."${FQRN}"]\n${lines}`;

describe('buildRepositoryConfig', () => {
  it('needs a server and a key, and has the documented defaults', () => {
    const { config, warnings } = build();
    expect(config).toEqual({
      version: 1,
      fqrn: FQRN,
      servers: ['http://s'],
      proxyGroups: [['DIRECT']],
      externalServers: [],
      externalProxyGroups: [['DIRECT']],
      publicKeys: [PEM],
      blacklists: [],
      fixed: { kind: 'trunk' },
      autoUpdate: true,
      maxTtlMs: null,
      timeoutMs: 5_000,
      timeoutDirectMs: 10_000,
      lowSpeedLimitBytesPerSecond: 1024,
      maxRetries: 1,
      maxConnections: 64,
      backoffInitMs: 2_000,
      backoffMaxMs: 10_000,
      proxyResetAfterMs: 300_000,
      hostResetAfterMs: 1_800_000,
      requestDeadlineMs: 300_000,
      followRedirects: false,
      infoHeader: false,
      claimOwnership: false,
      uidMap: '',
      gidMap: '',
      worldReadable: false,
      magicXattrs: 'rootonly',
      variables: { CVMFS_ARCH: Buffer.from('x86_64').toString('base64'), CVMFS_FQRN: Buffer.from(FQRN).toString('base64') },
      inodeBits: 64,
      cacheDir: '/var/cache/mesos-cvmfs',
      cacheLimitBytes: 20e9,
      driver: 'kernel',
      dataPath: 'server',
      readers: 2,
      speculation: 'on',
      speculationMaxObjects: 96,
      speculationMaxBytes: 64e6,
      maxBackground: 128,
    });
    expect(warnings).toEqual([]);
  });

  it('survives the trip to another process', () => {
    const { config } = build({ toml: section('max_ttl = "15m"\ntag = "v1"') });
    expect(parseRepositoryConfig(JSON.stringify(config))).toEqual(config);
  });

  it('lets the flag win over -o, that over the file, that over /etc/cvmfs, and says who won', () => {
    const parameters = 'CVMFS_HTTP_PROXY=http://param:1\nCVMFS_MAX_TTL=1\nCVMFS_TIMEOUT=7';
    const toml = section('proxies = "http://toml:1"\nmax_ttl = "2m"');
    const at = (given: Given, key: string): [unknown, string] => {
      const entry = build(given).entries.find((one) => one.key === `repositories."${FQRN}".${key}`)!;
      return [entry.value, originText(entry.origin)];
    };
    expect(at({ parameters }, 'proxies')).toEqual(['http://param:1', 'CVMFS_HTTP_PROXY in /e/default.local:1']);
    expect(at({ parameters, toml }, 'proxies')).toEqual(['http://toml:1', '/c.toml:2']);
    expect(at({ parameters, toml, options: ['CVMFS_HTTP_PROXY=http://o:1'] }, 'proxies')).toEqual(['http://o:1', '-o CVMFS_HTTP_PROXY']);
    expect(at({ parameters, toml, options: ['CVMFS_HTTP_PROXY=http://o:1'], flags: { servers: ['http://s'], publicKeys: ['/k/a.pub'], proxy: 'DIRECT' } }, 'proxies')).toEqual(['DIRECT', '--proxy']);
    expect(at({ parameters, toml }, 'max_ttl')).toEqual(['2m', '/c.toml:3']);
    expect(at({ parameters, toml }, 'timeout')).toEqual(['7s', 'CVMFS_TIMEOUT in /e/default.local:3']);
    expect(at({}, 'timeout')).toEqual(['5s', 'default']);
  });

  it('uses servers as they are after substitution', () => {
    expect(build({ flags: { servers: ['http://s/cvmfs/@fqrn@/', 'https://t/@org@/x'], publicKeys: ['/k/a.pub'] } }).config.servers).toEqual([`http://s/cvmfs/${FQRN}`, 'https://t/images/x']);
    const parameters = 'CVMFS_SERVER_URL="http://1/@fqrn@; http://2;http://3;"\nCVMFS_MAX_SERVERS=2\nCVMFS_EXTERNAL_URL="http://e/ext/;http://f"\nCVMFS_EXTERNAL_HTTP_PROXY=x:1';
    const { config } = build({ parameters, flags: { publicKeys: ['/k/a.pub'] } });
    expect(config.servers).toEqual([`http://1/${FQRN}`, 'http://2']);
    expect(config.externalServers).toEqual(['http://e/ext', 'http://f']);
    expect(config.externalProxyGroups).toEqual([['http://x:1']]);
  });

  it.each(['ftp://s', 's.example.org', 'http://u:p@s', 'http://s s', 'file:///srv', 'http://'])('refuses the server %j', (server) => {
    expect(() => build({ flags: { servers: [server], publicKeys: ['/k/a.pub'] } })).toThrow(/--server: .* is not the URL of a server/);
  });

  it('lets a fallback of the same or a stronger layer take DIRECT away, and no weaker one', () => {
    const fallback = 'CVMFS_FALLBACK_PROXY=http://f:1\n';
    expect(build({ parameters: fallback }).config.proxyGroups).toEqual([['http://f:1']]);
    expect(build({ parameters: `${fallback}CVMFS_HTTP_PROXY="http://a:1;DIRECT"` }).config.proxyGroups).toEqual([['http://a:1'], ['http://f:1']]);
    expect(build({ parameters: fallback, toml: section('proxies = "DIRECT"') }).config.proxyGroups).toEqual([['DIRECT']]);
    expect(() => build({ parameters: 'CVMFS_FALLBACK_PROXY=DIRECT' })).toThrow(/leave none/);
  });

  it('ignores http_proxy of the environment, whatever its case', () => {
    expect(build({ environment: { http_proxy: 'http://bad:1', HTTP_PROXY: 'http://bad:1', ALL_PROXY: 'http://bad:1' } }).config.proxyGroups).toEqual([['DIRECT']]);
  });

  describe('keys', () => {
    const flags = { servers: ['http://s'] };
    it('takes the strongest layer, files before a folder', () => {
      expect(build({ flags, parameters: 'CVMFS_KEYS_DIR=/k' }).config.publicKeys).toHaveLength(2);
      expect(build({ flags, parameters: 'CVMFS_KEYS_DIR=/k\nCVMFS_PUBLIC_KEY=/k/a.pub' }).config.publicKeys).toEqual([PEM]);
      expect(build({ flags, parameters: 'CVMFS_PUBLIC_KEY=/k/a.pub', options: ['CVMFS_KEYS_DIR=/k'] }).config.publicKeys).toHaveLength(2);
      expect(build({ flags, parameters: 'CVMFS_PUBLIC_KEY=/none', toml: section('public_keys = ["/k/a.pub"]') }).config.publicKeys).toEqual([PEM]);
      expect(build({ flags, toml: section('keys_dir = "/k"') }).config.publicKeys).toHaveLength(2);
      expect(build({ flags, parameters: 'CVMFS_PUBLIC_KEY=/k/a.pub:/k/b.pub' }).config.publicKeys).toHaveLength(2);
    });

    it.each<[Given, string, RegExp]>([
      [{ flags }, 'CONFIG_INVALID', /no master public key is configured for images\.example\.org; give --public-key/],
      [{ flags: { ...flags, publicKeys: ['/k/a.pub', '/k/none'] } }, 'KEY_INVALID', /--public-key: the public key \/k\/none does not exist/],
      [{ flags: { ...flags, publicKeys: ['/k/private'] } }, 'KEY_INVALID', /\/k\/private .*private key/],
      [{ flags: { ...flags, publicKeys: ['/k/bad'] } }, 'KEY_INVALID', /\/k\/bad .*not a public key/],
      [{ flags, parameters: 'CVMFS_KEYS_DIR=/k2' }, 'KEY_INVALID', /default\.local:1: no \*\.pub file in \/k2/],
      [{ flags: { publicKeys: ['/k/a.pub'] } }, 'CONFIG_INVALID', /no server is configured/],
    ])('fails clearly %#', (given, code, message) => {
      expect(() => build(given)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as Error);
    });
  });

  describe('the revision', () => {
    it.each<[Given, unknown]>([
      [{ options: ['CVMFS_REPOSITORY_TAG=v1'] }, { kind: 'tag', name: 'v1' }],
      [{ options: ['CVMFS_REPOSITORY_TAG=v1', `CVMFS_ROOT_HASH=${HASH}-rmd160`] }, { kind: 'rootHash', hash: `${HASH}-rmd160` }],
      [{ parameters: `CVMFS_ROOT_HASH=${HASH}`, toml: section('tag = "v2"') }, { kind: 'tag', name: 'v2' }],
      [{ toml: section('date = "2026-01-31T12:00:00Z"') }, { kind: 'date', unixSeconds: 1769860800 }],
      [{ toml: section('date = 2026-01-31T12:00:00Z') }, { kind: 'date', unixSeconds: 1769860800 }],
      [{ parameters: 'CVMFS_REPOSITORY_DATE=2026-01-31T12:00:00Z' }, { kind: 'date', unixSeconds: 1769860800 }],
      [{ toml: section('tag = "v2"'), flags: { servers: ['http://s'], publicKeys: ['/k/a.pub'], rootHash: HASH } }, { kind: 'rootHash', hash: HASH }],
    ])('%#', (given, fixed) => {
      expect(build(given).config.fixed).toEqual(fixed);
    });

    it('refuses two flags and what is no hash', () => {
      const flags = { servers: ['http://s'], publicKeys: ['/k/a.pub'] };
      expect(() => build({ flags: { ...flags, tag: 'a', rootHash: HASH } })).toThrow(/exclude/);
      expect(() => build({ flags: { ...flags, rootHash: '../x' } })).toThrow(/not a catalog hash/);
      expect(() => build({ parameters: 'CVMFS_ROOT_HASH=xyz' })).toThrow(/default\.local:1: the value "xyz" is not one that CVMFS_ROOT_HASH can have/);
    });
  });

  describe('variables', () => {
    it('are the environment, the parameters and the file, as bytes', () => {
      const { config } = build({
        environment: parseEnvironmentObject(Buffer.concat([Buffer.from('A=env\0B=env\0BIN='), Buffer.from([0xff, 0x80]), Buffer.from('\0EMPTY=\0A=second\0')])),
        parameters: 'B=param\nC=param\nCVMFS_ARCH=other',
        toml: section('variables = { C = "toml" }'),
        options: ['CVMFS_TEST_VARIANT=blue'],
      });
      const variables = variantVariables(config);
      expect(Object.fromEntries([...variables].map(([name, value]) => [name, value.toString('latin1')]))).toEqual({
        A: 'env',
        B: 'param',
        C: 'toml',
        BIN: '\xff\x80',
        EMPTY: '',
        CVMFS_ARCH: 'other',
        CVMFS_TEST_VARIANT: 'blue',
        CVMFS_FQRN: FQRN,
      });
    });

    it('leave out what the environment calls a secret', () => {
      const { config } = build({ environment: { DB_PASSWORD: 'x', AWS_SECRET_ACCESS_KEY: 'x', GITHUB_TOKEN: 'x', PASSTHROUGH: 'y' } });
      expect(Object.keys(config.variables).sort()).toEqual(['CVMFS_ARCH', 'CVMFS_FQRN', 'PASSTHROUGH']);
    });
  });

  it('reads maps and blacklists as texts, and fails when one that is named is missing', () => {
    const { config } = build({ parameters: 'CVMFS_UID_MAP=/m/uid\nCVMFS_BLACKLIST=/m/black', extra: { '/m/uid': '0 1\n', '/m/black': 'AA:BB\n' } });
    expect([config.uidMap, config.blacklists]).toEqual(['0 1\n', ['AA:BB\n']]);
    expect(build({ extra: { '/e/blacklist': 'default\n' } }).config.blacklists).toEqual(['default\n']);
    expect(() => build({ parameters: 'CVMFS_BLACKLIST=/none' })).toThrow(/default\.local:1: the blacklist \/none does not exist/);
  });

  it('takes the stock client’s cache parameters from the command line only', () => {
    const parameters = 'CVMFS_CACHE_DIR=/var/lib/cvmfs\nCVMFS_QUOTA_LIMIT=4000';
    expect(build({ parameters }).config).toMatchObject({ cacheDir: '/var/cache/mesos-cvmfs', cacheLimitBytes: 20e9 });
    expect(build({ options: ['CVMFS_CACHE_DIR=/mine', 'CVMFS_QUOTA_LIMIT=4000'] }).config).toMatchObject({ cacheDir: '/mine', cacheLimitBytes: 4e9 });
    expect(() => build({ options: ['CVMFS_QUOTA_LIMIT=-1'] })).toThrow(/CVMFS_QUOTA_LIMIT/);
  });

  it('leaves images their owners though the stock client’s default.conf claims them', () => {
    expect(build({ parameters: 'CVMFS_CLAIM_OWNERSHIP=yes' }).config.claimOwnership).toBe(false);
    expect(build({ options: ['CVMFS_CLAIM_OWNERSHIP=yes'] }).config.claimOwnership).toBe(true);
    expect(build({ toml: section('claim_ownership = true') }).config.claimOwnership).toBe(true);
  });

  it('honours the forms of magic attribute visibility', () => {
    expect(build({ options: ['CVMFS_MAGIC_XATTRS_VISIBILITY=never'] }).config.magicXattrs).toBe('never');
    expect(build({ parameters: 'CVMFS_HIDE_MAGIC_XATTRS=yes' }).config.magicXattrs).toBe('never');
    expect(() => build({ options: ['CVMFS_MAGIC_XATTRS_VISIBILITY=sometimes'] })).toThrow(/-o CVMFS_MAGIC_XATTRS_VISIBILITY/);
  });

  it.each([
    ['CVMFS_NFS_SOURCE=yes', 'NFS'],
    ['CVMFS_ALIEN_CACHE=/shared', 'cache'],
    ['CVMFS_CHECK_PERMISSIONS=no', '0600'],
    ['CVMFS_ENFORCE_ACLS=yes', 'ACL'],
    ['CVMFS_CACHE_PRIMARY=ram', 'instances'],
    ['CVMFS_TIMEOUT=soon', 'CVMFS_TIMEOUT'],
    ['CVMFS_AUTO_UPDATE=maybe', 'CVMFS_AUTO_UPDATE'],
  ])('refuses %s with where it stands', (line, why) => {
    expect(() => build({ parameters: `\n${line}` })).toThrow(new RegExp(`/e/default\\.local:2.*${why}`));
  });

  it('lets refused parameters pass that are off, and mentions unknown ones once', () => {
    const { warnings } = build({ parameters: 'CVMFS_NFS_SOURCE=no\nCVMFS_ALIEN_CACHE=\nCVMFS_CHECK_PERMISSIONS=yes\nCVMFS_SITE=x\nCVMFS_OTHER=y\nSITE=z' });
    expect(warnings).toMatchObject([{ code: 'UNKNOWN_PARAMETERS', severity: 'info', subject: FQRN }]);
    expect(warnings[0]!.text).toContain('CVMFS_OTHER (CVMFS_OTHER in /e/default.local:5), CVMFS_SITE');
  });

  it('shows no password in its entries or failures', () => {
    const { entries } = build({ parameters: 'CVMFS_HTTP_PROXY="http://u:hunter2@p:1"' });
    expect(JSON.stringify(entries)).not.toContain('hunter2');
    for (const given of [{ parameters: 'CVMFS_HTTP_PROXY="socks://u:hunter2@p:1"' }, { flags: { servers: ['http://u:hunter2@s'], publicKeys: ['/k/a.pub'] } }]) {
      expect(() => build(given)).toThrow(expect.objectContaining({ message: expect.not.stringContaining('hunter2') as string }) as Error);
    }
  });
});

function parseEnvironmentObject(bytes: Buffer): Record<string, Buffer> {
  return Object.fromEntries(parseEnvironment(bytes));
}

describe('parseRepositoryConfig', () => {
  const good = JSON.parse(JSON.stringify(build().config)) as Record<string, unknown>;
  it.each<[string, unknown]>([
    ['fqrn', '../../etc'],
    ['servers', []],
    ['servers', ['file:///etc']],
    ['cacheDir', 'relative'],
    ['timeoutMs', -1],
    ['timeoutMs', 1.5],
    ['inodeBits', 48],
    ['fixed', { kind: 'rootHash', hash: 'x' }],
    ['fixed', { kind: 'other' }],
    ['variables', { A: '%%' }],
    ['version', 2],
    ['surprise', 1],
    ['publicKeys', undefined],
  ])('refuses %s = %j and names it', (field, value) => {
    expect(() => parseRepositoryConfig(JSON.stringify({ ...good, [field]: value }))).toThrow(new RegExp(field));
  });

  it('refuses what is not JSON or too big', () => {
    expect(() => parseRepositoryConfig('{')).toThrow(/not JSON/);
    expect(() => parseRepositoryConfig(Buffer.alloc(9 * 1024 * 1024))).toThrow(/limit/);
  });
});
