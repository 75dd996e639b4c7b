/** The marks of deleted names in an unpacked layer, made into those of overlayfs. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { libc } from '../../src/native/libc';

const OPAQUE = '.wh..wh..opq';
const WHITEOUT = '.wh.';

export function convertWhiteouts(dir: string): void {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    const at = path.join(dir, entry.name);
    if (entry.isDirectory()) convertWhiteouts(at);
    else if (entry.name === OPAQUE) {
      libc().lsetxattr(dir, 'trusted.overlay.opaque', Buffer.from('y'));
      fs.rmSync(at);
    } else if (entry.name.startsWith(WHITEOUT)) {
      fs.rmSync(at);
      libc().mknod(path.join(dir, entry.name.slice(WHITEOUT.length)), fs.constants.S_IFCHR, 0n);
    }
  }
}
