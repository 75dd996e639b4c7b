/** The Debian package in a minimal Debian, without systemd and with it: what runs is neither unmounted nor noticed to be replaced. */
import { execFileSync } from 'node:child_process';
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { VERSION } from '../../src/version';
import { debianArchive, DebianRoot, whyNoDebianRoot, whyNoSystemd } from '../support/debian-root';
import { MadeRepository } from '../support/made-repository';
import { OtherVersion } from '../support/other-version';
import { until } from '../support/shell';
import { canMount } from '../support/test-host';
import type { Ran } from '../support/test-host';

jest.setTimeout(240_000);

const TOP = path.resolve(__dirname, '../..');
const BUILD = path.join(TOP, 'packaging/debian-package.js');
const OLD = '0.0.9';
const FQRN = 'package.example.org';
const NODE = '/opt/node/bin/node';
const KEY = '/etc/cvmfs/keys/package.example.org.pub';

/** Reads everything past the page cache, and looks for a name that is not there, until a file appears. */
const READER = `
import hashlib, os, random, sys
root, stop, wanted = sys.argv[1], sys.argv[2], dict(line.split() for line in open(sys.argv[3]))
rounds = 0
while not os.path.exists(stop):
    for name, sum in wanted.items():
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.sha256()
        while part := os.read(fd, 65536): digest.update(part)
        os.close(fd)
        if digest.hexdigest() != sum: sys.exit(f'{name} has the wrong content')
        if os.path.lexists(os.path.join(root, name + str(random.random()))): sys.exit('a name that does not exist')
    rounds += 1
print(rounds)
`;

interface Plan {
  readonly version: string;
  readonly up_to_date: boolean;
  readonly keeper: { readonly pid: number; readonly version: string } | null;
  readonly spare: { readonly version: string | null } | null;
  readonly service: { readonly version: string } | null;
  readonly mounts: ReadonlyArray<{ readonly mountpoint: string; readonly version: string | null }>;
}

const noSystemd = whyNoSystemd();
const missing = canMount() ? whyNoDebianRoot() : 'root, /dev/fuse and a build: make build';
const describeWithDebian = missing === undefined ? describe : describe.skip;

describeWithDebian(`the Debian package${missing === undefined ? '' : ` (needs ${missing})`}`, () => {
  let out: string;
  let older: OtherVersion;
  let oldPackage: string;
  let newPackage: string;
  let repository: MadeRepository;
  let debian: DebianRoot;

  const build = (...args: string[]): string => execFileSync(process.execPath, [BUILD, '--fast', ...args], { encoding: 'utf8', timeout: 60_000 }).trim();

  beforeAll(() => {
    debianArchive(false);
    if (noSystemd === undefined) debianArchive(true);
  }, 400_000);

  beforeAll(async () => {
    out = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-packages-'));
    older = new OtherVersion(OLD);
    for (const name of ['docs', 'examples', 'isolator', 'schemas']) fs.symlinkSync(path.join(TOP, name), path.join(older.dir, name));
    oldPackage = build('--tree', older.dir, '--out', out);
    newPackage = build('--out', out);
    repository = await MadeRepository.create(FQRN);
    const sums: string[] = [];
    for (let i = 0; i < 12; i++) {
      const content = crypto.randomBytes(i % 6 === 0 ? 400_000 : 4_000 * i);
      repository.write({ [`tree/file-${i}`]: content });
      sums.push(`file-${i} ${crypto.createHash('sha256').update(content).digest('hex')}\n`);
    }
    fs.writeFileSync(path.join(out, 'sums'), sums.join(''));
    await repository.publish();
  });

  const makeDebian = async (systemd: boolean): Promise<void> => {
    debian = await DebianRoot.create({ systemd });
    fs.mkdirSync(path.join(debian.root, path.dirname(KEY)), { recursive: true });
    fs.copyFileSync(repository.mountSource.publicKey, path.join(debian.root, KEY));
    for (const file of [oldPackage, newPackage]) fs.copyFileSync(file, path.join(debian.root, path.basename(file)));
  };

  afterEach(() => (debian as DebianRoot | undefined)?.end());
  afterAll(async () => {
    await repository.end();
    older.end();
    fs.rmSync(out, { recursive: true, force: true });
  });

  const inside = (name: string): string => path.join(debian.root, name);
  const dpkg = (...args: string[]): Promise<Ran> => debian.run('dpkg', args, { timeoutMs: 120_000 });
  const install = (file: string): Promise<Ran> => dpkg('--install', `/${path.basename(file)}`);
  /** As from an archive of nodejs.org: dpkg knows nothing of it. */
  const bringNode = (): void => {
    fs.mkdirSync(inside(path.dirname(NODE)), { recursive: true });
    fs.copyFileSync(fs.realpathSync(process.execPath), inside(NODE));
    fs.chmodSync(inside(NODE), 0o755);
  };
  async function ok(ran: Promise<Ran>): Promise<Ran> {
    const { code, stdout, stderr } = await ran;
    expect({ code, stderr: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, stderr: '' });
    return { code, stdout, stderr };
  }
  const plan = async (): Promise<Plan> => JSON.parse((await ok(debian.run('mesos-cvmfs', ['upgrade', '--check', '--json']))).stdout) as Plan;
  const mounted = async (): Promise<string[]> => (await debian.run('cat', ['/proc/self/mountinfo'])).stdout.split('\n').filter((line) => line.includes('fuse.mesos-cvmfs'));

  /** Has all of a mount read, again and again, while something is done; no read may fail. */
  async function underReader(mountpoint: string, act: () => Promise<void>): Promise<void> {
    const stop = path.join(debian.dir, 'stop');
    const reading = debian.outside('python3', ['-c', READER, path.join(inside(mountpoint), 'tree'), stop, path.join(out, 'sums')], { timeoutMs: 200_000 });
    try {
      await act();
    } finally {
      fs.writeFileSync(stop, '');
      const { code, stdout, stderr } = await reading;
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(Number(stdout)).toBeGreaterThan(10);
    }
  }

  it('is the same to the last byte when it is made twice', () => {
    const again = build('--out', path.join(out, 'again'));
    expect(path.basename(again)).toBe(path.basename(newPackage));
    expect(fs.readFileSync(again).equals(fs.readFileSync(newPackage))).toBe(true);
  });

  it('is installed, replaced by a newer version and removed under a mount that is read all the time', async () => {
    await makeDebian(false);
    // Without Node.js it is installed all the same, and says what to do.
    const first = await ok(install(oldPackage));
    expect(first.stderr).toMatch(/there is no Node\.js at .*NODE=.*\/etc\/default\/mesos-cvmfs/);
    expect((await debian.run('mesos-cvmfs', ['--version'])).code).toBe(3);
    bringNode();
    fs.appendFileSync(inside('etc/default/mesos-cvmfs'), `NODE=${NODE}\n`);
    expect((await ok(debian.run('mesos-cvmfs', ['--version']))).stdout).toBe(`${OLD}\n`);
    expect((await ok(debian.run('getent', ['passwd', 'mesos-cvmfs']))).stdout).toContain('/usr/sbin/nologin');

    const { servers } = repository.mountSource;
    await ok(debian.run('mesos-cvmfs', ['mount', FQRN, '/mnt/repository', '--server', servers[0]!, '--public-key', KEY]));
    const before = await mounted();
    expect(before).toHaveLength(1);

    await underReader('mnt/repository', async () => {
      expect(await plan()).toMatchObject({ version: OLD, up_to_date: true, keeper: { version: OLD }, mounts: [{ version: OLD }] });

      await ok(install(newPackage));
      const upgraded = await plan();
      expect(upgraded).toMatchObject({ version: VERSION, up_to_date: true, keeper: { version: VERSION }, spare: { version: VERSION }, mounts: [{ mountpoint: '/mnt/repository', version: VERSION }] });
      // What the administrator had changed is still there, and the mount is the very same.
      expect(fs.readFileSync(inside('etc/default/mesos-cvmfs'), 'utf8')).toContain(`NODE=${NODE}`);
      expect(await mounted()).toEqual(before);

      const removed = await ok(dpkg('--remove', 'mesos-cvmfs'));
      expect(removed.stderr).toMatch(/stay mounted and served[^]*\/mnt\/repository[^]*umount -l/);
      expect(fs.existsSync(inside('usr/lib/mesos-cvmfs'))).toBe(false);
      expect(await mounted()).toEqual(before);

      const purged = await ok(dpkg('--purge', 'mesos-cvmfs'));
      expect(purged.stderr).toContain('still mounted');
      expect(fs.existsSync(inside('var/cache/mesos-cvmfs'))).toBe(true);
      expect(await mounted()).toEqual(before);

      // Installed anew it takes over what the removal had left.
      fs.mkdirSync(inside('etc/default'), { recursive: true });
      fs.writeFileSync(inside('etc/default/mesos-cvmfs'), `NODE=${NODE}\n`);
      await ok(dpkg('--force-confold', '--install', `/${path.basename(newPackage)}`));
      expect(await plan()).toMatchObject({ up_to_date: true, mounts: [{ mountpoint: '/mnt/repository', version: VERSION }] });
    });

    await ok(debian.run('mesos-cvmfs', ['umount', '/mnt/repository']));
    expect((await ok(dpkg('--purge', 'mesos-cvmfs'))).stderr).not.toContain('still mounted');
    for (const name of ['usr/lib/mesos-cvmfs', 'usr/bin/mesos-cvmfs', 'etc/mesos-cvmfs', 'etc/default/mesos-cvmfs', 'var/lib/mesos-cvmfs', 'var/cache/mesos-cvmfs', 'usr/lib/systemd/system/mesos-cvmfs.service']) {
      expect([name, fs.existsSync(inside(name))]).toEqual([name, false]);
    }
    expect((await debian.run('dpkg-query', ['--show', 'mesos-cvmfs'])).code).toBe(1);
  });

  (noSystemd === undefined ? it : it.skip)(`has systemd hold the mounts, over an upgrade and after a removal${noSystemd === undefined ? '' : ` (needs ${noSystemd})`}`, async () => {
    await makeDebian(true);
    bringNode();
    fs.writeFileSync(inside('etc/default/mesos-cvmfs'), `NODE=${NODE}\n`);
    fs.mkdirSync(inside('etc/mesos-cvmfs'));
    fs.writeFileSync(inside('etc/mesos-cvmfs/config.toml'), `http = "127.0.0.1:0"\n[repositories."${FQRN}"]\nservers = ${JSON.stringify(repository.mountSource.servers)}\npublic_keys = ["${KEY}"]\n`);
    const keeper = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await ok(debian.run('systemctl', ['show', 'mesos-cvmfs-keeper', '-p', 'MainPID,ActiveState,KillMode,Restart,NFileDescriptorStore']))).stdout.trim().split('\n').map((line) => line.split('=')));

    await ok(dpkg('--force-confold', '--install', `/${path.basename(oldPackage)}`));
    await until('serve has mounted the repository', async () => (await mounted()).length === 1, 60_000);
    const before = await mounted();
    await underReader(`cvmfs/${FQRN}`, async () => {
      const upgraded = await ok(dpkg('--force-confold', '--install', `/${path.basename(newPackage)}`));
      expect(upgraded.stderr).not.toContain('mesos-cvmfs:');
      expect(await plan()).toMatchObject({ version: VERSION, up_to_date: true, keeper: { version: VERSION }, service: { version: VERSION }, mounts: [{ version: VERSION }] });
      expect(await keeper()).toMatchObject({ ActiveState: 'active', KillMode: 'process', Restart: 'always', NFileDescriptorStore: '1' });

      await ok(dpkg('--remove', 'mesos-cvmfs'));
      await ok(debian.run('systemctl', ['daemon-reload']));
      const left = await keeper();
      expect(left).toMatchObject({ ActiveState: 'active', KillMode: 'process', Restart: 'no', NFileDescriptorStore: '1' });
      // With the settings gone, systemd would end the servers with it.
      await ok(debian.run('sh', ['-c', `kill -9 ${left['MainPID']!}`]));
      await until('systemd knows that the keeper is dead', async () => (await keeper())['ActiveState'] === 'failed', 30_000);

      await ok(dpkg('--force-confold', '--install', `/${path.basename(newPackage)}`));
      await until('the service is there again', async () => (await plan()).service !== null, 60_000);
      expect(await keeper()).toMatchObject({ ActiveState: 'active', Restart: 'always', NFileDescriptorStore: '1' });
      expect(await mounted()).toEqual(before);
    });

    await ok(debian.run('systemctl', ['stop', 'mesos-cvmfs']));
    await ok(debian.run('mesos-cvmfs', ['umount', `/cvmfs/${FQRN}`]));
    await ok(dpkg('--purge', 'mesos-cvmfs'));
    for (const name of ['var/lib/mesos-cvmfs', 'var/cache/mesos-cvmfs', 'cvmfs']) expect([name, fs.existsSync(inside(name))]).toEqual([name, false]);
    expect((await debian.run('systemctl', ['list-units', '--all', '--no-legend', 'mesos-cvmfs*'])).stdout).toBe('');
  });
});
