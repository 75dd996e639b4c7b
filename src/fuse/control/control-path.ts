/** Where keeper and servers find each other's things by path. */
import * as path from 'node:path';

/** `dir` is the mount's own folder, `<run_dir>/mounts/<id>`. */
export function controlPath(dir: string): string {
  return path.join(dir, 'control.sock');
}

/** The folder in which spares of a user rehearse. */
export function spareDir(runDir: string, uid: number): string {
  return path.join(runDir, `spare-${uid}`);
}
