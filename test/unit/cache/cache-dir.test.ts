import * as fs from 'node:fs';
import * as path from 'node:path';
import { prepareCacheDir } from '../../../src/cache/cache-dir';
import { RepositoryFiles } from '../../../src/cache/repository-files';
import { isAlive, selfIdentity, staleTempFiles } from '../../../src/cache/temp-file';
import { TestCaches, failure } from './support';

let caches: TestCaches;
beforeEach(() => (caches = new TestCaches()));
afterEach(() => caches.end());

const asRoot = process.geteuid!() === 0 ? it : it.skip;

describe('the cache directory', () => {
  it('is made with its parents, for its owner alone', async () => {
    const dir = path.join(caches.dir, 'var', 'cache', 'x');
    await caches.open({ dir });
    expect(fs.statSync(dir).mode & 0o777).toBe(0o700);
    for (const name of fs.readdirSync(dir)) expect(fs.statSync(path.join(dir, name)).mode & 0o077).toBe(0);
  });

  it('is refused when others can read it, with the cure', async () => {
    const dir = path.join(caches.dir, 'wide');
    fs.mkdirSync(dir);
    fs.chmodSync(dir, 0o750);
    expect((await failure(caches.open({ dir }), 'FAILED_PRECONDITION')).message).toContain(`chmod 0700 ${dir}`);
  });

  it('is refused when it is a file, or when a folder in it is a link', async () => {
    const file = path.join(caches.dir, 'file');
    fs.writeFileSync(file, '');
    await failure(caches.open({ dir: file }), 'FAILED_PRECONDITION');
    const dir = path.join(caches.dir, 'linked');
    fs.mkdirSync(dir, { mode: 0o700 });
    fs.symlinkSync('/tmp', path.join(dir, 'objects'));
    await failure(caches.open({ dir }), 'FAILED_PRECONDITION');
  });

  asRoot('is refused when it belongs to somebody else, with the cure', async () => {
    const dir = path.join(caches.dir, 'theirs');
    fs.mkdirSync(dir, { mode: 0o700 });
    fs.chownSync(dir, 12_345, 12_345);
    expect((await failure(caches.open({ dir }), 'PERMISSION_DENIED')).message).toContain('chown -R 0:0');
  });

  asRoot('is prepared by root for the servers’ user, and opened only by that user', async () => {
    const dir = path.join(caches.dir, 'servers');
    prepareCacheDir(dir, { uid: 12_345, gid: 12_346 });
    prepareCacheDir(dir, { uid: 12_345, gid: 12_346 });
    expect(fs.statSync(dir)).toMatchObject({ uid: 12_345, gid: 12_346 });
    expect((await failure(caches.open({ dir, uid: 12_345, gid: 12_346 }), 'PERMISSION_DENIED')).message).toContain('act as user 12345');
  });

  it('refuses a limit that is none', async () => {
    for (const limitBytes of [0, -1, 1.5, NaN]) await failure(caches.open({ limitBytes }), 'INVALID_ARGUMENT');
  });
});

describe('temp files', () => {
  it('of dead processes are removed at the next opening, those of living ones stay', async () => {
    const cache = await caches.open();
    const self = selfIdentity();
    const living = `${self.pid}-${self.start}-0-99`;
    const reused = `${self.pid}-${Number(self.start) - 1}-0-5`;
    for (const name of [living, reused, '4194305-123-0-1', 'litter']) fs.writeFileSync(`${cache.dir}/txn/${name}`, 'half an object');
    expect(staleTempFiles(`${cache.dir}/txn`).sort()).toEqual([reused, '4194305-123-0-1', 'litter'].sort());
    await caches.open();
    expect(fs.readdirSync(`${cache.dir}/txn`)).toEqual([living]);
  });

  it('know the living from the dead', () => {
    expect(isAlive(selfIdentity())).toBe(true);
    expect(isAlive({ pid: process.pid, start: '1' })).toBe(false);
    expect(isAlive({ pid: 4_194_305, start: '1' })).toBe(false);
  });
});

describe('files of a repository', () => {
  it('come back whole, are replaced as a whole and can be absent', async () => {
    const cache = await caches.open();
    const files = new RepositoryFiles(cache.dir, 'images.example.org');
    expect(files.read('manifest')).toBeNull();
    files.write('manifest', Buffer.from('one'));
    files.write('whitelist', Buffer.from([0xff, 0, 0xfe]));
    files.write('manifest', Buffer.from('two'));
    expect(new RepositoryFiles(cache.dir, 'images.example.org').read('manifest')?.toString()).toBe('two');
    expect(files.read('whitelist')).toEqual(Buffer.from([0xff, 0, 0xfe]));
    expect(new RepositoryFiles(cache.dir, 'other.example.org').read('manifest')).toBeNull();
    expect(fs.readdirSync(`${cache.dir}/txn`)).toEqual([]);
    files.remove();
    expect(files.read('manifest')).toBeNull();
  });

  it('are bounded, and links are not followed', async () => {
    const cache = await caches.open();
    const files = new RepositoryFiles(cache.dir, 'images.example.org', 100);
    expect(() => files.write('manifest', Buffer.alloc(101))).toThrow(/more than 100/);
    files.write('manifest', Buffer.from('one'));
    fs.appendFileSync(`${cache.dir}/repositories/images.example.org/manifest`, 'x'.repeat(100));
    expect(files.read('manifest')).toBeNull();
    fs.symlinkSync('/etc/hostname', `${cache.dir}/repositories/images.example.org/whitelist`);
    expect(files.read('whitelist')).toBeNull();
  });

  it('refuse what is no repository’s name', async () => {
    const cache = await caches.open();
    for (const name of ['', '.', '..', '../x', 'a/b', 'a..b', '.a', 'a.', 'x'.repeat(61), 'a\0b', 'a\n']) expect(() => new RepositoryFiles(cache.dir, name)).toThrow(/not the name of a repository/);
  });
});
