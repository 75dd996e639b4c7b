/** What a user sees of one revision, whichever driver shows it. */
import * as path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { ForgedRepository, hashOf } from '../support/forged-repository';
import { look, lookAt } from '../support/outside';
import type { Look, SeenStat } from '../support/outside';
import { TestHost } from '../support/test-host';
import { DIRECTORY, ROOT } from '../unit/cvmfs/catalog-maker';
import { describeDrivers } from './driver';

jest.setTimeout(120_000);

const STRANGER = 1234;
const CHUNK = 256 << 10;
const NESTED = { ...DIRECTORY, flags: 1 | 2 };
const NESTED_ROOT = { ...DIRECTORY, flags: 1 | 32 };
const CHUNKED = 4 | 64;
const LINK = 8;
const MANY = 10_000;

describeDrivers('a mounted tree', (driver) => {
  let host: TestHost;
  let repository: ForgedRepository;
  let info: MountInfo;
  const chunks = [0, 1, 2, 3, 4].map(() => randomBytes(CHUNK));
  const big = Buffer.concat(chunks);
  const at = (name: string): string => path.join(info.mountpoint, name);

  beforeAll(async () => {
    host = new TestHost();
    repository = await ForgedRepository.start(host);
    repository.tables = driver.table;
    repository.configure({});
    const nested = repository.catalog({ properties: { root_prefix: '/sub' }, rows: [{ path: '/sub', ...NESTED_ROOT }, repository.file('/sub/inner', 'inside\n')] });
    const linked = repository.file('/dir/one', 'linked\n', { hardlinks: (7n << 32n) | 2n });
    repository.publish(
      repository.catalog({
        rows: [
          ROOT,
          repository.file('/open', 'open\n'),
          repository.file('/secret', 'secret\n', { mode: 0o100600 }),
          repository.file('/mine', 'mine\n', { mode: 0o100400, uid: STRANGER }),
          repository.file('/suid', '', { mode: 0o104755 }),
          repository.file('/gr\u00fc\u00dfe \u2603', 'utf-8\n'),
          { path: '/dir', ...DIRECTORY },
          linked,
          { ...linked, path: '/dir/two' },
          { path: '/closed', ...DIRECTORY, mode: 0o040700 },
          repository.file('/closed/inside', 'inside\n'),
          { path: '/link', flags: LINK, mode: 0o120777, hash: null, size: 0, symlink: 'dir/one' },
          { path: '/dangling', flags: LINK, mode: 0o120777, hash: null, size: 0, symlink: '/nowhere/at all' },
          { path: '/big', flags: CHUNKED, hash: null, size: big.length },
          { path: '/sub', ...NESTED },
          { path: '/many', ...DIRECTORY },
          ...Array.from({ length: MANY }, (_, i) => ({ path: `/many/entry number ${i}`, hash: null, size: 0 })),
        ],
        chunks: chunks.map((bytes, i) => ({ path: '/big', offset: i * CHUNK, size: CHUNK, hash: repository.put('chunk', bytes).hash.digest })),
        nested: [{ path: '/sub', sha1: hashOf(nested), size: nested.size }],
      }),
    );
    info = await host.mount(repository.mountOptions());
    // The tests' own folder is 0700; the mount's modes are what is asked here.
    await host.outside('chmod', ['0711', host.dir]);
  });
  afterAll(async () => {
    await host.end();
    await repository.close();
  });

  it('has every entry, and what is in them', async () => {
    expect(
      await look(host, [
        ['list', at('')],
        ['read', at('open')],
        ['read', at(Buffer.from('gr\u00fc\u00dfe \u2603').toString('latin1'))],
        ['readlink', at('link')],
        ['read', at('link')],
        ['readlink', at('dangling')],
        ['list', at('dir')],
        ['list', at('sub')],
        ['read', at('sub/inner')],
      ]),
    ).toEqual([
      { value: ['big', 'closed', 'dangling', 'dir', Buffer.from('gr\u00fc\u00dfe \u2603').toString('latin1'), 'link', 'many', 'mine', 'open', 'secret', 'sub', 'suid'] },
      { value: 'open\n' },
      { value: 'utf-8\n' },
      { value: 'dir/one' },
      { value: 'linked\n' },
      { value: '/nowhere/at all' },
      { value: ['one', 'two'] },
      { value: ['inner'] },
      { value: 'inside\n' },
    ]);
  });

  it('says of each what it is', async () => {
    expect(await look(host, [['stat', at('mine')], ['stat', at('suid')], ['stat', at('dir')], ['stat', at('link')], ['stat', at('big')]])).toMatchObject([
      { value: { mode: 0o100400, uid: STRANGER, gid: 0, size: 5, nlink: 1 } },
      { value: { mode: 0o104755, size: 0 } },
      { value: { mode: 0o040755 } },
      { value: { mode: 0o120777, size: 7 } },
      { value: { mode: 0o100644, size: big.length } },
    ]);
  });

  it('has hard links as one file', async () => {
    const [one, two, other] = (await look(host, [['stat', at('dir/one')], ['stat', at('dir/two')], ['stat', at('open')]])).map(({ value }) => value as SeenStat);
    expect(two).toEqual(one);
    expect(one!.nlink).toBe(2);
    expect(other!.ino).not.toBe(one!.ino);
  });

  it('lists the inode numbers that a stat gives', async () => {
    const script = 'import os,sys\nfor e in os.scandir(sys.argv[1]):\n  assert e.inode() == os.lstat(e.path).st_ino, e.name';
    expect(await host.outside('python3', ['-c', script, at('')])).toMatchObject({ code: 0, stderr: '' });
  });

  it('refuses what is not there, no directory, or too long', async () => {
    const calls: Look[] = [['stat', at('none')], ['read', at('dir/none')], ['list', at('open')], ['stat', at('open/below')], ['readlink', at('open')], ['read', at('dir')], ['stat', at('x'.repeat(256))], ['stat', at(`dir/${'x'.repeat(255)}`)], ['read', at('dangling')]];
    expect((await look(host, calls)).map(({ error }) => error)).toEqual(['ENOENT', 'ENOENT', 'ENOTDIR', 'ENOTDIR', 'EINVAL', 'EISDIR', 'ENAMETOOLONG', 'ENOENT', 'ENOENT']);
  });

  it('obeys modes and owners', async () => {
    const calls: Look[] = [['read', at('secret')], ['read', at('mine')], ['read', at('open')], ['list', at('closed')], ['read', at('closed/inside')], ['list', at('.cvmfs-view')], ['stat', at('.cvmfs-view/x')]];
    const strangers = await look(host, calls, { user: STRANGER });
    expect(strangers.map(({ error, value }) => error ?? value)).toEqual(['EACCES', 'mine\n', 'open\n', 'EACCES', 'EACCES', 'EACCES', 'EACCES']);
    expect((await look(host, calls)).map(({ error, value }) => error ?? value)).toEqual(['secret\n', 'mine\n', 'open\n', ['inside'], 'inside\n', [], 'ENOENT']);
  });

  it('cannot be changed', async () => {
    for (const [command, ...args] of [['touch', at('dir/new')], ['rm', '-f', at('open')], ['mkdir', at('dir/new')], ['chmod', '0600', at('open')], ['mv', at('open'), at('g')], ['ln', '-s', 'f', at('dir/link')], ['setfattr', '-n', 'user.x', '-v', 'y', at('open')]] as const) {
      const ran = await host.outside(command, args);
      expect(ran.code).not.toBe(0);
      expect(ran.stderr).toMatch(/Read-only file system/);
    }
    expect(await lookAt(host, 'read', at('open'))).toEqual({ value: 'open\n' });
  });

  it('is mounted read-only, without devices and set-user-id programs', async () => {
    const { stdout } = await host.outside('findmnt', ['-no', 'FSTYPE,OPTIONS', info.mountpoint]);
    expect(stdout).toMatch(/^fuse\.mesos-cvmfs +ro,nosuid,nodev,/);
  });

  it('reads large files at any offset', async () => {
    const offsets = [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 4095, big.length - 10, big.length, big.length + 5];
    const seen = await look(host, offsets.map((offset): Look => ['pread', at('big'), offset, 70_000]));
    expect(seen.map(({ value }) => value)).toEqual(offsets.map((offset) => big.subarray(offset, offset + 70_000).toString('latin1')));
    expect((await lookAt(host, 'read', at('big'))).value).toBe(big.toString('latin1'));
  });

  it('serves parallel readers, each the right bytes', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8; do (sha256sum "$1/big"; cat "$1/open") & done; wait';
    const ran = await host.outside('sh', ['-c', script, 'sh', info.mountpoint]);
    const sums = ran.stdout.split('\n').filter((line) => line.includes(' '));
    expect(sums).toHaveLength(8);
    expect(new Set(sums).size).toBe(1);
    expect(ran.stdout.match(/^open$/gm)).toHaveLength(8);
  });

  it.each([512, 32_768])('lists a large directory, each entry once, %d bytes at a time', async (bytes) => {
    const ran = await host.outside('python3', [path.resolve(__dirname, '../support/listing.py'), at('many'), String(bytes)]);
    expect(ran.stderr).toBe('');
    expect(ran.stdout.trimEnd().split('\n').sort()).toEqual(Array.from({ length: MANY }, (_, i) => `entry number ${i}`).sort());
  });

  it('goes on with a listing where it was left', async () => {
    expect(await host.outside('python3', [path.resolve(__dirname, '../support/listing.py'), at('many'), '4096', 'seek'])).toMatchObject({ stdout: 'same\n', stderr: '' });
  });

  it('answers the magic attributes and statfs', async () => {
    const [revision, fqrn, none, statvfs, listed] = await look(host, [['getxattr', at(''), 'user.revision'], ['getxattr', at('open'), 'user.fqrn'], ['getxattr', at('open'), 'user.none'], ['statvfs', at('')], ['listxattr', at('')]]);
    expect([revision, fqrn, none]).toEqual([{ value: '1' }, { value: 'sw.example.org' }, { error: 'ENODATA' }]);
    expect(statvfs!.value).toMatchObject({ f_bsize: 512, f_frsize: 512, f_namemax: 255 });
    expect(listed!.value).toEqual(expect.arrayContaining(['user.fqrn', 'user.revision', 'user.root_hash']));
  });

  it('answers an attribute into a buffer that is too small with ERANGE', async () => {
    const script = [
      'import ctypes,os,sys',
      'libc=ctypes.CDLL(None,use_errno=True)',
      'b=ctypes.create_string_buffer(64)',
      'p=os.fsencode(sys.argv[1])',
      'print(libc.getxattr(p,b"user.fqrn",None,0),libc.getxattr(p,b"user.fqrn",b,3),ctypes.get_errno(),libc.listxattr(p,b,3),ctypes.get_errno(),libc.getxattr(p,b"user.fqrn",b,64),b.value)',
    ].join('\n');
    expect((await host.outside('python3', ['-c', script, info.mountpoint])).stdout).toBe("14 -1 34 -1 34 14 b'sw.example.org'\n");
  });

  it('is unmounted when it is not in use, and not before', async () => {
    const holder = host.start('sleep', ['60'], { cwd: at('dir') });
    const refused = await host.umount(info.mountpoint);
    expect(refused.code).toBe(8);
    expect(refused.stderr).toContain('is in use');
    const ended = new Promise((resolve) => holder.once('exit', resolve));
    holder.kill('SIGKILL');
    await ended;
    expect(await host.umount(info.mountpoint)).toMatchObject({ code: 0 });
    expect(host.mountsBelow()).toEqual([]);
    expect((await host.status()).mounts).toEqual([]);
    expect(host.servers()).toEqual([]);
  });
});
