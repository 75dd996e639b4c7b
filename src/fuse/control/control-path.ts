/** Where the file system server of a mount listens. */
import * as path from 'node:path';

/** `dir` is the mount's own folder, `<run_dir>/mounts/<id>`. */
export function controlPath(dir: string): string {
  return path.join(dir, 'control.sock');
}
