/**
 * What we publish, judged by the stock tools: `cvmfs_swissknife check` finds no fault in it, and `cvmfs2` mounts it and
 * shows what was published. They are looked for in PATH, or below MESOS_CVMFS_STOCK_DIR (bin/ and lib/).
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { libc } from '../../src/native/libc';
import { serveRepository } from '../../src/publish/repo-serve';
import type { RepositoryServer } from '../../src/publish/repo-serve';
import { Fixture, FQRN } from '../unit/publish/repository-fixture';

jest.setTimeout(120_000);
const run = promisify(execFile);

const stockDir = process.env['MESOS_CVMFS_STOCK_DIR'];
const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${stockDir === undefined ? '' : `${path.join(stockDir, 'bin')}:`}${process.env['PATH'] ?? ''}:/sbin:/usr/sbin`,
  ...(stockDir === undefined ? {} : { CVMFS_LIBRARY_PATH: path.join(stockDir, 'lib') }),
};

/** Prints a tree as its user sees it: one line per entry, names and targets in hexadecimal. Argument: the folder. */
const LISTING = `
const fs = require('fs'), crypto = require('crypto');
const hex = (bytes) => bytes.toString('hex');
const walk = (folder, below) => {
  for (const name of fs.readdirSync(folder, { encoding: 'buffer' }).sort(Buffer.compare)) {
    const at = Buffer.concat([folder, Buffer.from('/'), name]);
    const s = fs.lstatSync(at);
    const path = below + '/' + hex(name);
    const line = [path, s.mode.toString(8), s.uid, s.gid, Math.floor(s.mtimeMs / 1000)];
    if (s.isFile()) line.push(s.size, crypto.createHash('sha1').update(fs.readFileSync(at)).digest('hex'));
    if (s.isSymbolicLink()) line.push(hex(fs.readlinkSync(at, { encoding: 'buffer' })));
    if (s.isBlockDevice()) line.push(s.rdev);
    // Hard links from one directory to another are broken up, as the publisher says.
    if (!s.isDirectory() && !['name', 'far'].includes(name.toString())) line.push(s.nlink);
    console.log(line.join(' '));
    if (s.isDirectory()) walk(at, path);
  }
};
walk(Buffer.from(process.argv[1]), '');
`;

function found(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`], { env: environment }).status === 0;
}

const present = found('cvmfs_swissknife');
const canMount = found('cvmfs2') && process.getuid?.() === 0 && fs.existsSync('/dev/fuse');
const absent = '(the stock tools are absent: set MESOS_CVMFS_STOCK_DIR)';
const describeStock = present ? describe : describe.skip;

describeStock(present ? 'beside the stock tools' : `beside the stock tools ${absent}`, () => {
  let fixture: Fixture;
  let server: RepositoryServer | undefined;
  beforeEach(async () => {
    fixture = await new Fixture().create();
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    fixture.remove();
  });

  const publicKey = (): string => path.join(fixture.keys, `${FQRN}.pub`);
  const serve = async (): Promise<RepositoryServer> => (server ??= await serveRepository({ fqrn: FQRN, storage: fixture.storage }));

  /** The checker looks at signatures only over HTTP. */
  async function expectStockCheck(...more: string[]): Promise<void> {
    const { url } = await serve();
    const temporary = fs.mkdtempSync(path.join(fixture.dir, 'check-'));
    const { stdout, stderr } = await run('cvmfs_swissknife', ['check', '-c', '-r', url, '-t', temporary, '-k', publicKey(), '-N', FQRN, ...more], {
      env: environment,
    });
    expect(`${stdout}${stderr}`).toContain('no problems found');
    execFileSync('cvmfs_swissknife', ['scrub', '-r', path.join(fixture.storage, 'data')], { env: environment });
  }

  function everyKind(): void {
    fixture.files({
      'dir/file': 'content',
      'dir/empty': '',
      'dir/sub/deep/x': 'y',
      'many/0': '',
      'big/chunked': fixture.world.randomBytes(9_000_000),
      'big/zeros': Buffer.alloc(40_000_000),
      'n/.cvmfscatalog': '',
      'n/file': '1',
      'n/m/.cvmfscatalog': '',
      'n/m/file': '2',
      'n/m/o/.cvmfscatalog': '',
      name: 'z',
    });
    for (let i = 0; i < 1500; i++) fs.writeFileSync(path.join(fixture.source, `many/${i}`), `${i % 17}`);
    const at = (name: string): string => path.join(fixture.source, name);
    fs.writeFileSync(Buffer.concat([Buffer.from(`${fixture.source}/dir/`), Buffer.from([0xff, 0x0a, 0x80])]), 'bytes');
    fs.linkSync(at('dir/file'), at('dir/second'));
    fs.linkSync(at('dir/file'), at('dir/third'));
    fs.linkSync(at('big/chunked'), at('big/chunked-again'));
    fs.linkSync(at('n/file'), at('n/file-again'));
    fs.linkSync(at('name'), at('dir/far'));
    fs.symlinkSync('../name', at('dir/link'));
    execFileSync('ln', [at('dir/link'), at('dir/link-again')]);
    execFileSync('mkfifo', [at('dir/pipe')]);
    if (process.getuid?.() === 0) libc().mknod(at('dir/device'), 0o060640, BigInt(0x11032c));
    libc().lsetxattr(at('dir/file'), 'user.most', Buffer.alloc(255, 7));
    libc().lsetxattr(at('dir/sub'), 'user.on.dir', Buffer.from('x'));
    fs.chmodSync(at('dir/file'), 0o4711);
    fs.chmodSync(at('dir/sub'), 0o3775);
  }

  it('the checker accepts what a tree of all kinds makes, revision after revision', async () => {
    await expectStockCheck();
    everyKind();
    await fixture.publish({ tag: 'v1', message: 'all kinds' });
    await expectStockCheck();
    fs.rmSync(path.join(fixture.source, 'n/m/.cvmfscatalog'));
    fixture.files({ 'many/.cvmfscatalog': '', 'dir/file': 'changed' });
    await fixture.publish({ tag: 'v2' });
    await expectStockCheck();
    await fixture.publish({ to: '/n/added/below', tag: 'v3', mtimeNs: true });
    await expectStockCheck();
    await expectStockCheck('-n', 'v1');
    expect((await fixture.check()).findings).toEqual([]);
  });

  it.each(['rmd160', 'shake128'] as const)('the checker accepts hashes of %s, uncompressed files and archives', async (hashAlgorithm) => {
    fixture.remove();
    fixture = await new Fixture().create({ hashAlgorithm });
    everyKind();
    await fixture.publish({ compression: 'none', tag: 'plain' });
    const archive = path.join(fixture.dir, 'all.tar.gz');
    execFileSync('tar', ['--format=pax', '--xattrs', '-C', fixture.source, '-czf', archive, '.']);
    await fixture.publish({ source: `tar:${archive}`, to: '/from/tar', tag: 'tar' });
    await expectStockCheck();
  });

  (canMount ? it : it.skip)('the client mounts it and shows what was published', async () => {
    everyKind();
    await fixture.publish({ tag: 'v1' });
    const { url } = await serve();
    const [mountpoint, cache] = ['mount', 'cache'].map((name) => path.join(fixture.dir, name)) as [string, string];
    fs.chmodSync(fixture.dir, 0o755);
    fs.mkdirSync(mountpoint);
    fs.mkdirSync(cache, { mode: 0o755 });
    const settings = {
      CVMFS_SERVER_URL: url,
      CVMFS_HTTP_PROXY: 'DIRECT',
      CVMFS_PUBLIC_KEY: publicKey(),
      CVMFS_CACHE_BASE: cache,
      CVMFS_RELOAD_SOCKETS: cache,
      CVMFS_SHARED_CACHE: 'no',
      CVMFS_CLAIM_OWNERSHIP: 'no',
      CVMFS_MAGIC_XATTRS_VISIBILITY: 'never',
      CVMFS_USYSLOG: path.join(cache, 'client.log'),
      CVMFS_STRICT_MOUNT: 'no',
    };
    const config = path.join(fixture.dir, 'client.conf');
    fs.writeFileSync(
      config,
      Object.entries(settings)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(''),
    );
    // The public key's folder is the owner's alone; the client reads it before it drops its rights.
    await run('cvmfs2', ['-o', `config=${config},ro,allow_other,disable_watchdog`, FQRN, mountpoint], { env: environment });
    try {
      // In a process of its own: this one is the server, and must answer while somebody waits for the mount.
      const listing = async (folder: string): Promise<string[]> =>
        (await run(process.execPath, ['-e', LISTING, folder], { maxBuffer: 1 << 26 })).stdout.trim().split('\n');
      const seen = await listing(mountpoint);
      expect(seen.length).toBeGreaterThan(1500);
      expect(seen).toEqual(await listing(fixture.source));
      const attribute = async (name: string, file: string): Promise<string> =>
        (await run('getfattr', ['-n', name, '--only-values', '--absolute-names', path.join(mountpoint, file)])).stdout;
      expect(await attribute('user.most', 'dir/third')).toBe('\x07'.repeat(255));
      expect(await attribute('user.on.dir', 'dir/sub')).toBe('x');
      expect(await attribute('user.revision', 'dir')).toBe('2');
    } finally {
      await run('umount', [mountpoint]);
    }
  });
});
