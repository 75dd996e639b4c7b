/** Removing what a container has written, with something of the host still mounted in it. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { removeTree } from '../../provisioner/remove-tree';

(process.getuid!() === 0 ? describe : describe.skip)('removing a directory with a mount in it', () => {
  it.each(['mounted', 'deep/mounted'])('stops at a bind mount of the same disk at %s and loses nothing of it', async (where) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mct-'));
    const [top, precious] = [path.join(dir, 'upperdir'), path.join(dir, 'precious')];
    const at = path.join(top, where);
    for (const folder of [at, path.join(precious, 'folder')]) fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(precious, 'file'), 'x');
    execFileSync('mount', ['--bind', precious, at]);
    try {
      await expect(removeTree(top)).rejects.toMatchObject({ code: 'SYSTEM' });
      expect(fs.readdirSync(precious)).toEqual(['file', 'folder']);
    } finally {
      execFileSync('umount', ['-l', at]);
    }
    await removeTree(top);
    expect(fs.readdirSync(dir)).toEqual(['precious']);
    fs.rmSync(dir, { recursive: true });
  });
});
