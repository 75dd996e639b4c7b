import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { directoryRules, findServerUser, prepareDirectory } from '../../../src/config/directories';

const PASSWD = 'root:x:0:0:root:/root:/bin/bash\nmesos-cvmfs-other:x:5:5::/:/bin/false\nmesos-cvmfs:x:998:997::/nonexistent:/usr/sbin/nologin\n';
const files = (passwd: string) => ({ read: () => passwd, list: () => [] });

describe('findServerUser', () => {
  it('looks it up', () => {
    expect(findServerUser('mesos-cvmfs', files(PASSWD), { uid: 0, gid: 0 })).toEqual({ user: { name: 'mesos-cvmfs', uid: 998, gid: 997 } });
  });
  it('falls back to root with a warning that has the cure', () => {
    const { user, warning } = findServerUser('nobody-here', files(PASSWD), { uid: 0, gid: 0 });
    expect(user.uid).toBe(0);
    expect(warning).toMatchObject({ code: 'SERVER_USER_ABSENT', severity: 'warning', text: expect.stringContaining('useradd') as string });
  });
  it('is the process’ own user without root', () => {
    expect(findServerUser('mesos-cvmfs', files(PASSWD), { uid: 1000, gid: 1000 })).toEqual({ user: { name: '1000', uid: 1000, gid: 1000 } });
  });
});

describe('prepareDirectory', () => {
  const ids = { uid: process.geteuid!(), gid: process.getegid!() };
  let base: string;
  beforeEach(() => (base = fs.mkdtempSync(path.join(os.tmpdir(), 'cvmfs-dirs-'))));
  afterEach(() => fs.rmSync(base, { recursive: true }));
  const rule = (mode: number, name = 'a/b') => ({ key: 'run_dir', path: path.join(base, name), mode, ...ids });
  const modeOf = (dir: string): number => fs.statSync(dir).mode & 0o7777;

  it('makes what is missing with the mode, whatever the umask', () => {
    const before = process.umask(0o077);
    try {
      prepareDirectory(rule(0o711), ids);
    } finally {
      process.umask(before);
    }
    expect(modeOf(path.join(base, 'a/b'))).toBe(0o711);
    expect(() => prepareDirectory(rule(0o711), ids)).not.toThrow();
  });

  it('refuses a wider one with the command that mends it, and leaves it alone', () => {
    fs.mkdirSync(path.join(base, 'w'));
    fs.chmodSync(path.join(base, 'w'), 0o755);
    expect(() => prepareDirectory(rule(0o711, 'w'), ids)).toThrow(/run_dir: .*\/w has mode 0755, which is wider than 0711; run: chmod 0711 /);
    expect(modeOf(path.join(base, 'w'))).toBe(0o755);
  });

  it('opens a narrower one as far as its rule', () => {
    fs.mkdirSync(path.join(base, 'n'), { mode: 0o700 });
    prepareDirectory(rule(0o711, 'n'), ids);
    expect(modeOf(path.join(base, 'n'))).toBe(0o711);
  });

  it('refuses links and files', () => {
    fs.mkdirSync(path.join(base, 'target'), { mode: 0o700 });
    fs.symlinkSync(path.join(base, 'target'), path.join(base, 'link'));
    fs.writeFileSync(path.join(base, 'file'), '');
    expect(() => prepareDirectory(rule(0o700, 'link'), ids)).toThrow(/is a symbolic link/);
    expect(() => prepareDirectory(rule(0o700, 'file'), ids)).toThrow(/is not a directory/);
  });

  const asRoot = ids.uid === 0 ? it : it.skip;
  asRoot('refuses somebody else’s, and hands over only what is empty', () => {
    const dir = path.join(base, 'cache');
    fs.mkdirSync(dir, { mode: 0o700 });
    fs.chownSync(dir, 12345, 12345);
    expect(() => prepareDirectory(rule(0o700, 'cache'), ids)).toThrow(/belongs to user 12345, not to 0; run: chown 0:0 /);
    fs.chownSync(dir, 0, 0);
    fs.writeFileSync(path.join(dir, 'x'), '');
    expect(() => prepareDirectory({ ...rule(0o700, 'cache'), uid: 998, gid: 997 }, ids)).toThrow(/belongs to user 0, not to 998/);
    fs.rmSync(path.join(dir, 'x'));
    prepareDirectory({ ...rule(0o700, 'cache'), uid: 998, gid: 997 }, ids);
    expect(fs.statSync(dir)).toMatchObject({ uid: 998, gid: 997 });
  });

  it('has the rules of the design', () => {
    const user = { name: 'u', uid: 998, gid: 997 };
    expect(directoryRules({ stateDir: '/s', runDir: '/r', cacheDir: '/c' }, user, { uid: 0, gid: 0 })).toEqual([
      { key: 'state_dir', path: '/s', mode: 0o700, uid: 0, gid: 0 },
      { key: 'run_dir', path: '/r', mode: 0o711, uid: 0, gid: 0 },
      { key: 'cache.dir', path: '/c', mode: 0o700, uid: 998, gid: 997 },
    ]);
    expect(directoryRules({ runDir: '/r', cacheDir: '/c' }, user, { uid: 0, gid: 0 })).toHaveLength(2);
  });
});
