/** State of a newer version is refused with file, both versions and the next step, and left as it is. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { checkRepositoryConfig } from '../../../src/config/repository-config';
import { checkProgram, ownProgram } from '../../../src/fuse/keeper/program';
import { checkNegotiated } from '../../../src/fuse/kernel/init';
import { checkHello, PROTOCOL } from '../../../src/fuse/server/envelope';
import { PlaceList } from '../../../src/repository/places';
import { SharedState } from '../../../src/repository/shared-state';

const REFUSED = { code: 'FAILED_PRECONDITION', next: expect.stringContaining('mesos-cvmfs') as string };

describe('state of a newer version', () => {
  let dir: string;
  beforeEach(() => (dir = fs.mkdtempSync(path.join(os.tmpdir(), 'state-version-'))));
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  it('an index list is not even cut', () => {
    const file = path.join(dir, 'index');
    const text = '0 index-list 2\nsomething that this program does not know\ntorn';
    fs.writeFileSync(file, text);
    const fd = fs.openSync(file, 'r+');
    try {
      expect(() => PlaceList.recover(fd, new SharedState())).toThrow(expect.objectContaining({ ...REFUSED, message: expect.stringMatching(/version 2, this program knows versions up to 1/) as string }));
      expect(fs.readFileSync(file, 'utf8')).toBe(text);
    } finally {
      fs.closeSync(fd);
    }
  });

  it('an index list begins with its version', () => {
    const file = path.join(dir, 'index');
    const fd = fs.openSync(file, 'w+');
    try {
      const shared = new SharedState();
      PlaceList.recover(fd, shared);
      const list = new PlaceList(fd, shared, 32);
      expect(list.all()).toEqual([]);
      expect(fs.readFileSync(file, 'utf8')).toBe('0 index-list 1\n');
    } finally {
      fs.closeSync(fd);
    }
  });

  it('a repository configuration', () => {
    expect(() => checkRepositoryConfig({ version: 2 })).toThrow(expect.objectContaining(REFUSED));
  });

  it('flags and minor of the kernel', () => {
    checkNegotiated({ minor: 31, flags: '0', resend: false, passthrough: false }, 'x');
    expect(() => checkNegotiated({ minor: 31, flags: String(1n << 62n), resend: false, passthrough: false }, 'a/file.json')).toThrow(expect.objectContaining({ ...REFUSED, message: expect.stringMatching(/^a\/file\.json: /) as string }));
    expect(() => checkNegotiated({ minor: 99, flags: '0', resend: false, passthrough: false }, 'x')).toThrow(expect.objectContaining(REFUSED));
  });

  it('words between keeper and server', () => {
    expect(checkHello({ protocol: PROTOCOL, version: '7.0.0', more: 1 }, 'keeper', 'server')).toEqual({ protocol: PROTOCOL, version: '7.0.0' });
    for (const said of [{ protocol: PROTOCOL + 1, version: '7.0.0' }, {}, null, 'x']) expect(() => checkHello(said, 'keeper', 'server')).toThrow(expect.objectContaining(REFUSED));
  });
});

describe('a program that others than root could change', () => {
  it('is refused', () => {
    if (process.getuid?.() !== 0) return;
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'program-'));
    try {
      for (const name of ['bin/mesos-cvmfs', 'dist/src/fuse/server/start.js']) {
        fs.mkdirSync(path.join(dir, path.dirname(name)), { recursive: true });
        fs.writeFileSync(path.join(dir, name), '');
      }
      const program = { ...ownProgram(), dir };
      expect(checkProgram(program)).toEqual(program);
      for (const spoil of ['bin', 'dist/src/fuse/server/start.js', '.']) {
        fs.chownSync(path.join(dir, spoil), 1234, 0);
        expect(() => checkProgram(program)).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }));
        fs.chownSync(path.join(dir, spoil), 0, 0);
        fs.chmodSync(path.join(dir, spoil), 0o777);
        expect(() => checkProgram(program)).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }));
        fs.chmodSync(path.join(dir, spoil), 0o755);
      }
      expect(() => checkProgram({ ...program, dir: path.join(dir, 'absent') })).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });
});
