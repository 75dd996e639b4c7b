/**
 * Where things lie below `--docker_store_dir`:
 *
 *     staging/XXXXXX/                  one for each pull
 *     layers/<layer id>/rootfs.overlay an unpacked layer, whiteouts as overlay wants them
 *     layers/<configuration digest>    the configuration, a file
 *     storedImages                     the images that are known, by name
 *     gc/<entry>.<nanoseconds>         what a prune took out of layers/ and will delete
 */
import * as fs from 'node:fs';

/** Of the overlay backend; the others look for `rootfs`. */
export const ROOTFS = 'rootfs.overlay';

/** lstat: a link that points nowhere is there. */
export function exists(file: string): boolean {
  return fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}
