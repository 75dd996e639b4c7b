import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { DirectoryStorage, spoolName } from '../../../src/publish/directory-storage';
import { storageDirectory } from '../../../src/publish/storage';

const dirs: string[] = [];

async function storage(): Promise<DirectoryStorage> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'publish-storage-'));
  dirs.push(dir);
  const made = new DirectoryStorage(dir);
  await made.prepare();
  return made;
}

afterAll(() => dirs.forEach((dir) => fs.rmSync(dir, { recursive: true, force: true })));

it('writes an object once and reads it back', async () => {
  const s = await storage();
  expect(await s.putObject('data/ab/cd', { bytes: Buffer.from('hello') })).toBe(true);
  expect(await s.putObject('data/ab/cd', { bytes: Buffer.from('hello') })).toBe(false);
  expect((await s.read('data/ab/cd', 100))!.toString()).toBe('hello');
  expect(await s.size('data/ab/zz')).toBeUndefined();
  const listed = [];
  for await (const entry of s.list()) listed.push(entry);
  expect(listed).toEqual([{ name: 'data/ab/cd', size: 5 }]);
  expect(fs.readdirSync(s.spoolDir)).toEqual([]);
});

it('replaces an object that a power failure cut short', async () => {
  const s = await storage();
  await s.putObject('data/ab/cd', { bytes: Buffer.from('hello') });
  fs.truncateSync(path.join(s.place, 'data/ab/cd'), 2);
  expect(await s.putObject('data/ab/cd', { bytes: Buffer.from('hello') })).toBe(true);
  expect((await s.read('data/ab/cd', 100))!.toString()).toBe('hello');
});

it('takes over a spooled file, or drops it when the object is there', async () => {
  const s = await storage();
  for (const expected of [true, false]) {
    const spool = spoolName(s.spoolDir, 'x');
    fs.writeFileSync(spool, 'large');
    expect(await s.putObject('data/01/23', { spool, size: 5 })).toBe(expected);
    expect(fs.existsSync(spool)).toBe(false);
  }
});

it('gives files the mode that the umask leaves', async () => {
  const s = await storage();
  const old = process.umask(0o027);
  try {
    await s.putObject('data/ab/cd', { bytes: Buffer.from('x') });
    await s.putMutable('.cvmfspublished', Buffer.from('y'));
  } finally {
    process.umask(old);
  }
  expect(fs.statSync(path.join(s.place, 'data/ab/cd')).mode & 0o777).toBe(0o640);
  expect(fs.statSync(path.join(s.place, '.cvmfspublished')).mode & 0o777).toBe(0o640);
});

it('has one lock, and its next holder clears away what a dead process left', async () => {
  const s = await storage();
  fs.writeFileSync(spoolName(s.spoolDir, 'left'), 'half');
  fs.writeFileSync(path.join(s.spoolDir, 'cvmfs.other'), 'of another tool');
  const lock = await s.lock();
  await expect(new DirectoryStorage(s.place).lock()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  expect(fs.readdirSync(s.spoolDir).sort()).toEqual(['cvmfs.other', 'mesos-cvmfs-lock']);
  await lock.release();
  await (await new DirectoryStorage(s.place).lock()).release();
});

it('refuses to read more than it is asked to', async () => {
  const s = await storage();
  await s.putMutable('.cvmfswhitelist', Buffer.alloc(100));
  await expect(s.read('.cvmfswhitelist', 99)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
});

it('flushes', async () => {
  await (await storage()).flush();
});

it('says what it can not store to', () => {
  expect(storageDirectory('/srv/repo')).toBe('/srv/repo');
  expect(() => storageDirectory('s3://bucket/prefix')).toThrow(/comes with a later release/);
});

it('says that there is no repository', async () => {
  await expect(new DirectoryStorage('/nonexistent/repo').lock()).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
