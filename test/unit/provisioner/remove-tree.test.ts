import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { removeTree } from '../../../provisioner/remove-tree';

describe('removing what a container has written', () => {
  let dir: string;
  let top: string;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mct-'));
    top = path.join(dir, 'upperdir');
    fs.mkdirSync(top);
  });

  afterEach(() => execFileSync('rm', ['-rf', dir]));

  it('removes files, directories, links, fifos, and names that are not UTF-8', async () => {
    fs.mkdirSync(path.join(top, 'a/b/c'), { recursive: true });
    fs.writeFileSync(path.join(top, 'a/b/file'), 'x');
    fs.mkdirSync(path.join(top, 'closed'), { mode: 0 });
    execFileSync('mkfifo', [path.join(top, 'fifo')]);
    const strange = Buffer.concat([Buffer.from(`${top}/`), Buffer.from([0xff, 0xfe])]);
    fs.mkdirSync(strange);
    fs.writeFileSync(Buffer.concat([strange, Buffer.from('/\xe9', 'latin1')]), '');
    await removeTree(top);
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  it('does not follow links out of the directory', async () => {
    fs.mkdirSync(path.join(dir, 'outside'));
    fs.writeFileSync(path.join(dir, 'outside/precious'), 'x');
    fs.symlinkSync(path.join(dir, 'outside'), path.join(top, 'link'));
    fs.symlinkSync('/nowhere', path.join(top, 'dangling'));
    await removeTree(top);
    expect(fs.readFileSync(path.join(dir, 'outside/precious'), 'utf8')).toBe('x');
    expect(fs.existsSync(top)).toBe(false);
  });

  it('refuses a link in place of the directory itself', async () => {
    fs.mkdirSync(path.join(dir, 'outside'));
    fs.symlinkSync(path.join(dir, 'outside'), path.join(dir, 'swapped'));
    await expect(removeTree(path.join(dir, 'swapped'))).rejects.toThrow(/ENOTDIR|ELOOP/);
    expect(fs.existsSync(path.join(dir, 'outside'))).toBe(true);
  });

  it('removes directories nested deeper than a path can be long', async () => {
    // 600 × "dddddddddd/" is 6.6 kB, PATH_MAX is 4 kB.
    execFileSync('sh', ['-c', 'for i in $(seq 600); do mkdir dddddddddd && cd -P dddddddddd || exit 1; done 2>/dev/null; : > leaf'], { cwd: top });
    await removeTree(top);
    expect(fs.existsSync(top)).toBe(false);
  });

  it('is content when there is nothing', async () => {
    await removeTree(path.join(dir, 'none'));
    await removeTree(top);
    await removeTree(top);
  });
});
