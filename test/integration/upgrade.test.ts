/** Another version takes over while everything is read: no read fails, and a version that is of no use takes nothing over. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { KeeperClient } from '../../src/fuse/control/keeper-client';
import { startTicks } from '../../src/fuse/process-identity';
import { VERSION } from '../../src/version';
import { MadeRepository } from '../support/made-repository';
import { OtherVersion } from '../support/other-version';
import { ServiceManager } from '../support/service-manager';
import { until } from '../support/shell';
import { describeWithMounts, TestHost } from '../support/test-host';
import type { Ran } from '../support/test-host';

jest.setTimeout(180_000);

const FILES = 24;
const NEW = '99.1.0';

/** Reads everything past the page cache, and asks for names that are not there, until a file appears. */
const READER = `
import hashlib, os, random, sys
root, stop = sys.argv[1], sys.argv[2]
wanted = dict(line.split() for line in open(sys.argv[3]))
rounds = 0
while rounds == 0 or not os.path.exists(stop):
    for name in sorted(wanted):
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            digest = hashlib.sha256()
            while True:
                part = os.read(fd, 65536)
                if not part: break
                digest.update(part)
        finally:
            os.close(fd)
        if digest.hexdigest() != wanted[name]: sys.exit(f'{name} has the wrong content')
        if os.path.lexists(os.path.join(root, name + '-' + str(random.random()))): sys.exit('a name that does not exist')
    rounds += 1
`;

interface Versions {
  readonly keeper: string;
  readonly keeperPid: number;
  readonly spare: string | null;
  readonly servers: ReadonlyArray<string | null>;
  readonly serverPids: ReadonlyArray<number | null>;
}

describeWithMounts('an upgrade', () => {
  let repository: MadeRepository;
  let host: TestHost;
  let mounts: MountInfo[];
  let sums: string;
  let other: OtherVersion;

  beforeAll(async () => {
    repository = await MadeRepository.create('upgrade.example.org');
    const lines: string[] = [];
    for (let i = 0; i < FILES; i++) {
      const content = crypto.randomBytes(i % 8 === 0 ? 600_000 : 4_000 * (i % 7));
      repository.write({ [`tree/folder-${i % 4}/file-${i}`]: content });
      lines.push(`folder-${i % 4}/file-${i} ${crypto.createHash('sha256').update(content).digest('hex')}\n`);
    }
    await repository.publish();
    sums = path.join(repository.dir, 'sums');
    fs.writeFileSync(sums, lines.join(''));
  });

  beforeEach(async () => {
    host = new TestHost();
    other = new OtherVersion(NEW);
    mounts = [await host.mount(repository.mountSource), await host.mount({ ...repository.mountSource, name: 'second' })];
  });

  afterEach(async () => {
    await host.end();
    other.end();
  });

  afterAll(() => repository.end());

  const upgrade = (bin: string | undefined, ...args: string[]): Promise<Ran> => host.run(['upgrade', '--json', ...args], { ...(bin === undefined ? {} : { bin }), timeoutMs: 120_000 });
  const keeperFile = (id: string): string => path.join(host.runDir, 'keeper', `${id}.json`);
  const sum = (file: string): string => crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex');

  /** Asks the keeper that runs, and starts none. */
  async function versions(): Promise<Versions | null> {
    const keeper = await KeeperClient.find(host.runDir);
    try {
      const list = await keeper?.list();
      if (list === undefined) return null;
      return { keeper: list.keeperVersion, keeperPid: list.keeperPid, spare: list.spareVersion, servers: list.mounts.map((one) => one.serverVersion), serverPids: list.mounts.map((one) => one.serverPid) };
    } catch {
      return null;
    } finally {
      keeper?.close();
    }
  }

  async function settled(): Promise<Versions> {
    let seen: Versions | null = null;
    await until('keeper, spare and servers are there', async () => {
      seen = await versions();
      return seen !== null && seen.spare !== null && seen.serverPids.every((pid) => pid !== null);
    });
    return seen!;
  }

  /** Runs verifying readers of both mounts while something is done; each must end without an error. */
  async function underReaders<T>(act: () => Promise<T>): Promise<T> {
    const stop = path.join(host.dir, `stop-${crypto.randomUUID()}`);
    const readers = mounts.map((mount) => host.outside('python3', ['-c', READER, path.join(mount.mountpoint, 'tree'), stop, sums], { timeoutMs: 150_000 }));
    try {
      return await act();
    } finally {
      fs.writeFileSync(stop, '');
      expect(await Promise.all(readers)).toEqual(mounts.map(() => ({ code: 0, stdout: '', stderr: '' })));
    }
  }

  const all = (version: string): object => ({ keeper: version, spare: version, servers: [version, version] });

  it('replaces servers, spare and keeper under readers, once, and goes back in the same way', async () => {
    const before = await settled();
    expect(before).toMatchObject(all(VERSION));
    await underReaders(async () => {
      const plan = await upgrade(other.bin, '--check');
      expect(plan).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(plan.stdout)).toMatchObject({ version: NEW, up_to_date: false, changed: false, keeper: { version: VERSION, action: 'replace' }, mounts: [{ action: 'replace' }, { action: 'replace' }] });
      expect(await settled()).toEqual(before);

      const done = await upgrade(other.bin);
      expect({ code: done.code, out: done.stdout === '' ? done.stderr : 'answered' }).toEqual({ code: 0, out: 'answered' });
      expect(JSON.parse(done.stdout)).toMatchObject({ version: NEW, up_to_date: true, changed: true });
      expect(done.stderr).toContain('"mounts_total":2');
      const after = await settled();
      expect(after).toMatchObject(all(NEW));
      expect(after.keeperPid).not.toBe(before.keeperPid);
      expect(startTicks(before.keeperPid)).toBeUndefined();

      expect(JSON.parse((await upgrade(other.bin)).stdout)).toMatchObject({ up_to_date: true, changed: false });
      expect(await settled()).toEqual(after);

      expect((await upgrade(undefined)).code).toBe(0);
      expect(await settled()).toMatchObject(all(VERSION));
    });
    expect(host.servers().length).toBe(2);
  });

  it('works when a package has replaced the files below the keeper that runs', async () => {
    await host.end();
    host = new TestHost();
    other.call(VERSION);
    const mount = (name: string): Promise<Ran> => host.run(['mount', 'upgrade.example.org', path.join(host.dir, name), '--server', repository.mountSource.servers[0]!, '--public-key', repository.mountSource.publicKey, '--cache-dir', host.cacheDir, '--json'], { bin: other.bin });
    mounts = [JSON.parse((await mount('one')).stdout), JSON.parse((await mount('two')).stdout)] as MountInfo[];
    const before = await settled();
    expect(before).toMatchObject(all(VERSION));
    other.call(NEW);
    await underReaders(async () => {
      // A server that dies before the upgrade may well be succeeded by one of the new version.
      process.kill(before.serverPids[0]!, 'SIGKILL');
      expect((await upgrade(other.bin)).code).toBe(0);
    });
    expect(await settled()).toMatchObject(all(NEW));
  });

  it('leaves the start of the next keeper to a service manager', async () => {
    await host.end();
    host = new TestHost();
    other.call(VERSION);
    const manager = new ServiceManager({ socket: `@upgrade-${process.pid}`, storeMax: 64, command: [process.execPath, other.bin, 'keeper', '--run-dir', host.runDir] });
    try {
      const first = await manager.startReady();
      mounts = [await host.mount(repository.mountSource), await host.mount({ ...repository.mountSource, name: 'second' })];
      await settled();
      other.call(NEW);
      await underReaders(async () => {
        const running = upgrade(other.bin);
        await until('the keeper has made room', () => startTicks(first) === undefined, 90_000);
        const next = await manager.startReady();
        expect((await running).code).toBe(0);
        expect(await settled()).toMatchObject({ ...all(NEW), keeperPid: next });
      });
      expect([...(await manager.stored())].sort()).toEqual(mounts.map((mount) => mount.id).sort());
    } finally {
      await manager.end();
    }
  });

  const useless: ReadonlyArray<[string, () => void]> = [
    ['cannot be parsed', () => other.patch('fuse/server/main.js', '"use strict";', '"use strict"; this is no program')],
    ['exits at once', () => other.patch('fuse/server/main.js', '"use strict";', '"use strict"; process.exit(3);')],
    ['is never ready', () => other.patch('fuse/server/main.js', 'warm: async () => {', 'warm: async () => { await new Promise(() => undefined);')],
    ['says another version', () => other.patch('fuse/server/main.js', 'protocol: envelope_1.PROTOCOL, version: version_1.VERSION', "protocol: envelope_1.PROTOCOL, version: '98.0.0'")],
  ];
  it.each(useless)('touches nothing when the new version %s', async (_, spoil) => {
    spoil();
    const before = await settled();
    const failed = await underReaders(() => upgrade(other.bin, '--timeout', '5s'));
    expect(failed.code).toBe(8);
    expect(failed.stderr).toMatch(/version 99\.1\.0 does not come up|holds version 98\.0\.0/);
    expect(await settled()).toEqual(before);
  });

  const spoiltServers: ReadonlyArray<[string, () => void]> = [
    ['cannot open the mount', () => other.patch('fuse/server/main.js', 'const opened = await file_system_server_1', "throw new Error('spoilt'); const opened = await file_system_server_1")],
    ['dies at once', () => other.patch('fuse/server/main.js', "log.info(resend ? 'the", "setTimeout(die, 50); log.info(resend ? 'the")],
  ];
  it.each(spoiltServers)('goes back to the old version when the new server %s', async (_, spoil) => {
    spoil();
    const before = await settled();
    const failed = await underReaders(() => upgrade(other.bin));
    expect(failed.code).toBe(8);
    expect(failed.stderr).toContain(`is served by version ${VERSION} now`);
    const after = await settled();
    expect(after).toMatchObject({ ...all(VERSION), keeperPid: before.keeperPid });
    expect(after.serverPids[1]).toBe(before.serverPids[1]);
  });

  it('keeps the old keeper when the new one does not come up', async () => {
    other.patch('fuse/keeper/main.js', 'process.chdir', "throw new Error('spoilt'); process.chdir");
    const before = await settled();
    const failed = await underReaders(() => upgrade(other.bin));
    expect(failed.code).toBe(8);
    expect(failed.stderr).toContain('does not come up');
    const after = await settled();
    expect(after).toMatchObject({ keeper: VERSION, keeperPid: before.keeperPid, spare: VERSION, servers: [NEW, NEW] });
    // It keeps them as well as before.
    process.kill(after.serverPids[0]!, 'SIGKILL');
    await underReaders(() => until('another server', async () => (await settled()).serverPids[0] !== after.serverPids[0]));
    expect((await upgrade(undefined)).code).toBe(0);
    expect(await settled()).toMatchObject(all(VERSION));
  });

  it('replaces the keeper first when its protocol is another', async () => {
    other.patch('fuse/server/envelope.js', 'exports.PROTOCOL = 1', 'exports.PROTOCOL = 2');
    await settled();
    expect((await underReaders(() => upgrade(other.bin))).code).toBe(0);
    expect(await settled()).toMatchObject(all(NEW));
  });

  it('refuses a second one while one is under way', async () => {
    other.patch('fuse/server/main.js', 'warm: async () => {', 'warm: async () => { await new Promise(() => undefined);');
    await settled();
    const first = upgrade(other.bin, '--timeout', '15s');
    const keeper = (await KeeperClient.find(host.runDir))!;
    await until('the first is under way', async () => (await keeper.list()).upgrade?.state === 'running');
    keeper.close();
    const second = await upgrade(other.bin);
    expect(second.code).toBe(8);
    expect(second.stderr).toContain('is under way');
    expect((await first).code).toBe(8);
  });

  it('goes on when the command is killed', async () => {
    await settled();
    await underReaders(async () => {
      const command = host.start(process.execPath, [other.bin, 'upgrade', '--run-dir', host.runDir]);
      const keeper = (await KeeperClient.find(host.runDir))!;
      await until('it is under way', async () => (await keeper.list()).upgrade !== null);
      keeper.close();
      command.kill('SIGKILL');
      await until('all is of the new version', async () => (await settled()).keeper === NEW, 90_000);
    });
    expect(await settled()).toMatchObject(all(NEW));
  });

  it.each(['keeper', 'spare'] as const)('ends well when the %s is killed in the middle', async (which) => {
    const before = await settled();
    await underReaders(async () => {
      const running = upgrade(other.bin);
      const keeper = (await KeeperClient.find(host.runDir))!;
      await until('the first mount is replaced', async () => ((await keeper.list()).upgrade?.mountsDone ?? 0) > 0);
      keeper.close();
      const spare = (JSON.parse(fs.readFileSync(path.join(host.runDir, 'spare.json'), 'utf8')) as { pid: number }).pid;
      process.kill(which === 'keeper' ? before.keeperPid : spare, 'SIGKILL');
      expect((await running).code).toBe(0);
    });
    expect(await settled()).toMatchObject(all(NEW));
    expect(host.servers().length).toBe(2);
  });

  const newer: ReadonlyArray<[string, RegExp, (record: Record<string, unknown>) => object]> = [
    ['a record', /keeper\/[0-9a-f]{12}\.json has version 2, this program knows versions up to 1; use the newer/, (record) => ({ ...record, version: 2 })],
    ['a configuration', /the configuration in .*\.json has version 7, .* up to 1; use the newer/, (record) => ({ ...record, config: { ...(record['config'] as object), version: 7 } })],
    ['what was agreed with the kernel', /\.json: FUSE 7\.99 .* this program knows 7\./, (record) => ({ ...record, negotiated: { ...(record['negotiated'] as object), minor: 99 } })],
  ];
  it.each(newer)('is refused where %s is newer than the program, and leaves it', async (_, why, forge) => {
    const before = await settled();
    const file = keeperFile(mounts[0]!.id);
    const good = fs.readFileSync(file, 'utf8');
    fs.writeFileSync(file, JSON.stringify(forge(JSON.parse(good) as Record<string, unknown>)));
    const forged = sum(file);
    const failed = await upgrade(other.bin);
    expect(failed.code).toBe(8);
    expect((JSON.parse(failed.stderr) as { error: { message: string } }).error.message).toMatch(why);
    expect(sum(file)).toBe(forged);
    expect(await settled()).toEqual(before);
    fs.writeFileSync(file, good);
  });

  it('is refused where an index list is newer than the program, and leaves it', async () => {
    const before = await settled();
    const file = path.join(mounts[0]!.dir, 'index');
    const good = fs.readFileSync(file, 'utf8');
    expect(good).toMatch(/^0 index-list 1\n1 /);
    // In place: its server has the file open, and locked.
    fs.writeFileSync(file, good.replace('index-list 1', 'index-list 2'), { flag: 'r+' });
    const failed = await upgrade(other.bin);
    expect(failed.code).toBe(8);
    expect(failed.stderr).toMatch(/mounts\/[0-9a-f]{12}\/index has version 2, this program knows versions up to 1/);
    expect(fs.readFileSync(file, 'utf8')).toContain('index-list 2');
    expect(await settled()).toEqual(before);
    fs.writeFileSync(file, good, { flag: 'r+' });
  });
});
