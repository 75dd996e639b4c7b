/** New revisions, broken objects, servers that are down, and the end of a mount, whichever driver shows it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { ForgedRepository } from '../support/forged-repository';
import type { Stored } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import { TestHost } from '../support/test-host';
import type { Row } from '../unit/cvmfs/catalog-maker';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';
import { describeDrivers } from './driver';

jest.setTimeout(120_000);

const LINK = 8;
const POLL_MS = 100;

interface Status {
  readonly warnings: readonly string[];
  readonly mounts: ReadonlyArray<{ readonly server_pid: number; readonly details: { readonly ioErrors: number } }>;
}

describeDrivers('the life of a mount', (driver) => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo;
  beforeEach(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host);
    repository.tables = driver.table;
    repository.configure({ request_deadline: '2s' });
  });
  afterEach(async () => {
    await host.end();
    await repository.close();
  });

  const at = (name: string): string => path.join(info.mountpoint, name);
  const catalog = (rows: readonly Row[]): Stored => repository.catalog({ properties: { TTL: '1' }, rows: [ROOT, ...rows] });
  const status = async (): Promise<Status> => JSON.parse(await host.ok(['status', '--json']));
  async function until(check: () => Promise<boolean>): Promise<void> {
    while (!(await check())) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  it('shows a new revision within its time to live: contents, sizes, types, what came and what went', async () => {
    repository.publish(catalog([repository.file('/grows', 'short\n'), repository.file('/shrinks', 'rather long\n'), repository.file('/goes', 'x'), { path: '/turns', ...DIRECTORY }, repository.file('/turns/inside', 'y')]));
    info = await host.mount(repository.mountOptions());
    expect(await look(host, [['read', at('grows')], ['read', at('shrinks')], ['read', at('turns/inside')], ['stat', at('comes')]])).toEqual([{ value: 'short\n' }, { value: 'rather long\n' }, { value: 'y' }, { error: 'ENOENT' }]);
    repository.publish(catalog([repository.file('/grows', 'longer than it was before\n'), repository.file('/shrinks', 'less\n'), repository.file('/turns', 'a file\n'), repository.file('/comes', 'new\n')]));
    await until(async () => ((await lookAt(host, 'list', at(''))).value as string[]).includes('comes'));
    // A listing is the first to show it; names that the kernel keeps follow within the time to live.
    await until(async () => (await lookAt(host, 'read', at('grows'))).value !== 'short\n');
    await until(async () => (await lookAt(host, 'read', at('shrinks'))).value !== 'rather long\n');
    await until(async () => (await lookAt(host, 'read', at('turns'))).error === undefined);
    await until(async () => (await lookAt(host, 'stat', at('goes'))).error !== undefined);
    expect(await look(host, [['list', at('')], ['read', at('grows')], ['read', at('shrinks')], ['read', at('turns')], ['read', at('comes')], ['stat', at('goes')], ['getxattr', at(''), 'user.revision']])).toEqual([
      { value: ['comes', 'grows', 'shrinks', 'turns'] },
      { value: 'longer than it was before\n' },
      { value: 'less\n' },
      { value: 'a file\n' },
      { value: 'new\n' },
      { error: 'ENOENT' },
      { value: '2' },
    ]);
  });

  it('never gives a reader a mixture of two revisions of a file', async () => {
    // Lengths differ, so a size of one with the content of the other is seen as well.
    const content = (revision: number): string => `${revision} `.repeat(1_000 + revision * 3_000);
    repository.publish(catalog([repository.file('/file', content(0))]));
    info = await host.mount(repository.mountOptions());
    const script = [
      'import sys,time,hashlib',
      'seen=[]',
      'end=time.time()+float(sys.argv[2])',
      'while time.time()<end:',
      '  b=open(sys.argv[1],"rb").read()',
      '  h=b[:1].decode()+" "+str(len(b))+" "+str(len(set(b.split())))',
      '  if not seen or seen[-1]!=h: seen.append(h)',
      'print("\\n".join(seen))',
    ].join('\n');
    const reading = host.outside('python3', ['-c', script, at('file'), '9']);
    for (const revision of [1, 2, 3]) {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      repository.publish(catalog([repository.file('/file', content(revision))]));
    }
    const { stdout, stderr } = await reading;
    expect(stderr).toBe('');
    const expected = [0, 1, 2, 3].map((revision) => `${revision} ${content(revision).length} 1`);
    const seen = stdout.trim().split('\n');
    expect(expected).toEqual(expect.arrayContaining(seen));
    expect(seen.length).toBeGreaterThan(1);
  });

  it('a file that is held open keeps its content, whatever is published', async () => {
    repository.publish(catalog([repository.file('/file', 'first'), repository.file('/other', 'a')]));
    info = await host.mount(repository.mountOptions());
    const script = 'import os,sys\nf=os.open(sys.argv[1],0)\nprint("open",flush=True)\nsys.stdin.readline()\nprint(os.pread(f,100,0).decode(),os.fstat(f).st_size,flush=True)\nsys.stdin.readline()';
    const holder = host.start('python3', ['-c', script, at('file')]);
    const lines: string[] = [];
    let rest = '';
    holder.stdout!.on('data', (bytes: Buffer) => {
      const parts = (rest + bytes.toString()).split('\n');
      rest = parts.pop()!;
      lines.push(...parts);
    });
    await until(() => Promise.resolve(lines.length === 1));
    repository.publish(catalog([repository.file('/file', 'the second'), repository.file('/other', 'bb')]));
    await until(async () => (await lookAt(host, 'read', at('other'))).value === 'bb');
    if (driver.supports.twoRevisionsAtOnce) await until(async () => (await lookAt(host, 'read', at('file'))).value === 'the second');
    else expect(await lookAt(host, 'read', at('file'))).toEqual({ value: 'first' });
    holder.stdin!.write('\n');
    await until(() => Promise.resolve(lines.length === 2));
    expect(lines[1]).toBe('first 5');
    holder.stdin!.write('\n');
    await until(async () => (await lookAt(host, 'read', at('file'))).value === 'the second');
  });

  it('answers EIO for what is broken, goes on with the rest, and recovers', async () => {
    const bad = repository.file('/bad', 'what is hard to get\n');
    repository.publish(catalog([bad, repository.file('/good', 'good\n')]));
    info = await host.mount(repository.mountOptions());
    const stored = repository.server.files.get(bad.stored.url)!;
    repository.server.files.set(bad.stored.url, Buffer.from('not that'));
    expect(await look(host, [['read', at('bad')], ['read', at('good')], ['stat', at('bad')]])).toMatchObject([{ error: 'EIO' }, { value: 'good\n' }, { value: { size: 20 } }]);
    expect((await status()).mounts[0]!.details.ioErrors).toBeGreaterThan(0);
    repository.server.files.set(bad.stored.url, stored);
    await until(async () => (await lookAt(host, 'read', at('bad'))).value === 'what is hard to get\n');
    expect((await status()).mounts[0]!.server_pid).toBe(info.serverPid);
  });

  it('goes on without servers, and is mounted from the cache', async () => {
    repository.publish(catalog([repository.file('/used', 'used\n'), repository.file('/unused', 'unused\n')]));
    info = await host.mount(repository.mountOptions());
    expect(await lookAt(host, 'read', at('used'))).toEqual({ value: 'used\n' });
    repository.server.behave = () => ({ kind: 'reset' });
    expect(await look(host, [['read', at('used')], ['read', at('unused')], ['list', at('')]])).toEqual([{ value: 'used\n' }, { error: 'EIO' }, { value: ['unused', 'used'] }]);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    info = await host.mount(repository.mountOptions());
    expect(await look(host, [['list', at('')], ['read', at('used')]])).toEqual([{ value: ['unused', 'used'] }, { value: 'used\n' }]);
  });

  it('names of any bytes: shown, or hidden and warned about, never taken for another', async () => {
    const odd = Buffer.from('caf\xe9', 'latin1');
    const replaced = Buffer.from('caf\ufffd');
    repository.publish(
      catalog([
        { ...repository.file('', 'latin1\n'), path: Buffer.concat([Buffer.from('/'), odd]) },
        { ...repository.file('', 'replacement\n'), path: Buffer.concat([Buffer.from('/'), replaced]) },
        repository.file('/plain', 'plain\n'),
        { path: '/target', flags: LINK, mode: 0o120777, hash: null, size: 0, symlink: odd },
      ]),
    );
    info = await host.mount(repository.mountOptions());
    const calls = [['list', at('')], ['read', at(odd.toString('latin1'))], ['read', at(replaced.toString('latin1'))], ['readlink', at('target')], ['read', at('plain')]] as const;
    const seen = await look(host, calls);
    const warned = (await status()).warnings.filter((text) => text.includes('UTF-8'));
    if (driver.supports.bytesNames) {
      expect(seen).toEqual([{ value: [odd.toString('latin1'), replaced.toString('latin1'), 'plain', 'target'].sort() }, { value: 'latin1\n' }, { value: 'replacement\n' }, { value: odd.toString('latin1') }, { value: 'plain\n' }]);
      expect(warned).toEqual([]);
    } else {
      expect(seen).toEqual([{ value: ['plain', 'target'] }, { error: 'ENOENT' }, { error: 'ENOENT' }, { error: 'EILSEQ' }, { value: 'plain\n' }]);
      expect(warned).toEqual([expect.stringMatching(/^3 names or link targets are not UTF-8/)]);
    }
  });

  it('serves as the user it is told to, without any capability', async () => {
    repository.configure({}, { server_user: 'nobody' });
    repository.publish(catalog([repository.file('/file', 'x\n')]));
    await host.outside('chmod', ['0711', host.dir]);
    info = await host.mount(repository.mountOptions());
    expect(await lookAt(host, 'read', at('file'))).toEqual({ value: 'x\n' });
    for (const task of fs.readdirSync(`/proc/${info.serverPid}/task`)) {
      const text = fs.readFileSync(`/proc/${info.serverPid}/task/${task}/status`, 'latin1');
      expect(text).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
      expect(text).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m);
      expect(text).toMatch(/^Groups:\t *$/m);
      expect(text).toMatch(/^CapPrm:\t0+$/m);
    }
  });

  it('when its process is killed: goes on, or is dead, says so, and is cleaned up', async () => {
    repository.publish(catalog([repository.file('/file', 'x\n')]));
    info = await host.mount(repository.mountOptions());
    process.kill(info.serverPid!, 'SIGKILL');
    if (driver.supports.survival) {
      expect(await lookAt(host, 'read', at('file'))).toEqual({ value: 'x\n' });
      return;
    }
    await until(async () => (await status()).warnings.some((text) => text.includes('is dead') && text.includes(info.mountpoint)));
    expect(await lookAt(host, 'read', at('file'))).toEqual({ error: 'ENOTCONN' });
    const again = await host.tryMount(repository.mountOptions());
    expect(again.code).not.toBe(0);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    expect(host.mountsBelow()).toEqual([]);
    info = await host.mount(repository.mountOptions());
    expect(await lookAt(host, 'read', at('file'))).toEqual({ value: 'x\n' });
  });

  it('goes on while its keeper is dead, and is unmounted by the next one', async () => {
    repository.publish(catalog([repository.file('/file', 'x\n'), repository.file('/later', 'y\n')]));
    info = await host.mount(repository.mountOptions());
    const before = (await host.status()).mounts[0]!;
    process.kill(before.keeper_pid, 'SIGKILL');
    expect(await look(host, [['read', at('file')], ['read', at('later')]])).toEqual([{ value: 'x\n' }, { value: 'y\n' }]);
    await until(async () => (await host.status().catch(() => null))?.mounts[0]?.server_pid === before.server_pid);
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    await until(() => Promise.resolve(host.servers().length === 0));
    expect(host.mountsBelow()).toEqual([]);
  });

  it('is forgotten when somebody else unmounts it', async () => {
    repository.publish(catalog([repository.file('/file', 'x\n')]));
    info = await host.mount(repository.mountOptions());
    expect(await host.outside('umount', [info.mountpoint])).toMatchObject({ code: 0 });
    await until(async () => (await host.status()).mounts.length === 0 && host.servers().length === 0);
    expect((await host.status()).warnings.filter((text) => text.includes(host.dir))).toEqual([]);
  });
});
