/**
 * The calls that can hang on a file system server, made inside a helper process and nowhere else (spec 1.7: one hung
 * FUSE path in `mount(2)` stopped every launch of an agent). Each mounts or unmounts exactly one rootfs, or makes its
 * directories, so that the service itself answers others meanwhile.
 *
 * The image's directory is opened without following a single link, from the mount point down, and must lie on the
 * device that the mount had when it was made: a link that a publish swaps in, or another mount over the path, gives a
 * refusal and never a container with the host's root in it. What was checked is what is mounted: the descriptor goes to
 * mount(2) as `/proc/self/fd/N`.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../src/error';
import type { Libc } from '../../src/native/libc';
import {
  MNT_DETACH, MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REMOUNT, MS_SHARED, MS_SLAVE, O_DIRECTORY, O_PATH, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
  UMOUNT_NOFOLLOW,
} from '../../src/native/libc';

/** A directory in a mounted repository. */
export interface ViewSource {
  readonly mountpoint: string;
  /** `major:minor` of the mount. */
  readonly device: string;
  /** Without a leading slash. */
  readonly pathInMount: Buffer;
}

export type Operation =
  | { readonly kind: 'overlay'; readonly source: ViewSource; readonly upper: string; readonly work: string; readonly target: string; readonly xinoOff: boolean }
  | { readonly kind: 'bind'; readonly source: ViewSource; readonly target: string; readonly suid: boolean }
  | { readonly kind: 'unmount'; readonly target: string | Buffer }
  /** A question for a name that nobody has: only whoever serves the file system below can say that it is not there. */
  | { readonly kind: 'look'; readonly target: string; readonly name: string }
  /** Whether the directory is there as a mount would find it. */
  | { readonly kind: 'reach'; readonly source: ViewSource; readonly target: string }
  /** Whether a mount inside a root file system can be placed there: a link on the way would lead it, and the directories made for it, to the host. */
  | { readonly kind: 'inside'; readonly target: string; readonly path: string }
  /** Made with what is missing above them, mode 0755; those that are there are left as they are. Some file systems take half a millisecond for each. */
  | { readonly kind: 'directories'; readonly target: string; readonly more: readonly string[] };

/** Mounts stacked on one rootfs that are taken away; more is somebody's loop. */
const MAX_STACKED = 64;

const OPTIONS_PAGE_BYTES = 4096;

/** glibc's makedev, taken apart. */
function deviceText(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

function onDevice(fd: number, source: ViewSource): void {
  const device = deviceText(fs.fstatSync(fd, { bigint: true }).dev);
  if (device !== source.device) {
    throw new Failure('FAILED_PRECONDITION', `${source.mountpoint} is not the mounted repository any more: device ${device} in place of ${source.device}`, {
      next: 'see whether something else is mounted there, or whether the repository was mounted anew',
    });
  }
}

function withDirectory<T>(native: Libc, source: ViewSource, use: (directory: string, stat: fs.Stats) => T): T {
  const top = fs.openSync(source.mountpoint, O_PATH | O_DIRECTORY);
  try {
    onDevice(top, source);
    const fd = native.openat2(top, source.pathInMount, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    try {
      onDevice(fd, source);
      return use(`/proc/self/fd/${fd}`, fs.fstatSync(fd));
    } finally {
      fs.closeSync(fd);
    }
  } finally {
    fs.closeSync(top);
  }
}

/** Overlay splits its options at commas and `lowerdir` at colons; a backslash protects both and itself. */
export function escapeOverlayPath(plain: string): string {
  return plain.replace(/[\\,:]/g, '\\$&');
}

/** Slave, then shared: unmounts on the host reach the containers that copied the mount table, theirs do not come back (spec 2.5). */
function propagate(native: Libc, target: string): void {
  native.mount(null, target, null, MS_SLAVE, null);
  native.mount(null, target, null, MS_SHARED, null);
}

function undoing(native: Libc, target: string, rest: () => void): void {
  try {
    rest();
  } catch (err) {
    native.umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    throw err;
  }
}

function mountOverlay(native: Libc, operation: Operation & { kind: 'overlay' }): void {
  const { source, upper, work, target, xinoOff } = operation;
  withDirectory(native, source, (lower, root) => {
    // The root of an overlay shows the attributes of the upper directory, so these are the image's own.
    fs.chownSync(upper, root.uid, root.gid);
    fs.chmodSync(upper, root.mode & 0o7777);
    const options = `lowerdir=${lower},upperdir=${escapeOverlayPath(upper)},workdir=${escapeOverlayPath(work)}${xinoOff ? ',xino=off' : ''}`;
    // The kernel cuts options at one page, and a path that is cut is another path.
    if (Buffer.byteLength(options) >= OPTIONS_PAGE_BYTES) throw new Failure('INVALID_ARGUMENT', `the directories of ${target} have names too long for the options of an overlay`, { next: 'use shorter container ids without commas' });
    native.mount('overlay', target, 'overlay', 0, options);
  });
  undoing(native, target, () => propagate(native, target));
}

function mountBind(native: Libc, operation: Operation & { kind: 'bind' }): void {
  const { source, target, suid } = operation;
  withDirectory(native, source, (directory) => native.mount(directory, target, null, MS_BIND, null));
  undoing(native, target, () => {
    native.mount(null, target, null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | (suid ? 0 : MS_NOSUID), null);
    propagate(native, target);
  });
}

/** Lazily, with all that is mounted below and stacked above; nothing mounted, or nothing there, is success. */
function unmount(native: Libc, target: string | Buffer): number {
  for (let count = 0; count < MAX_STACKED; count++) {
    try {
      native.umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    } catch (err) {
      const errno = err instanceof Failure ? err.data['errno'] : undefined;
      if (errno === 'EINVAL' || errno === 'ENOENT') return count;
      throw err;
    }
  }
  throw new Failure('SYSTEM', `${target.toString()} is still mounted after ${MAX_STACKED} unmounts`);
}

function makeDirectories(dirs: readonly string[]): number {
  for (const dir of dirs) fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
  return 0;
}

/** What a mount says for ever once nobody holds its file system any more (ENOTCONN), or once its tree was invalidated. */
const DEAD: ReadonlyArray<string | undefined> = ['ENOTCONN', 'ESTALE'];

/** Returns 1 when somebody answers, 0 when nobody ever will. */
function look(target: string, name: string): number {
  try {
    fs.lstatSync(path.join(target, name));
    return 1;
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 1;
    if (DEAD.includes(code)) return 0;
    throw err;
  }
}

/** Returns 1 when the directory is there, 0 when it or one above it is missing. */
function inside(native: Libc, target: string, wanted: string): number {
  const root = fs.openSync(target, O_PATH | O_DIRECTORY);
  try {
    fs.closeSync(native.openat2(root, wanted, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
    return 1;
  } catch (err) {
    const errno = err instanceof Failure ? err.data['errno'] : undefined;
    if (errno === 'ENOENT') return 0;
    if (errno === 'ELOOP') throw new Failure('FAILED_PRECONDITION', `the image has a symbolic link on the path /${wanted}`, { next: 'use an image that has directories there, or nothing' });
    if (errno === 'ENOTDIR') throw new Failure('FAILED_PRECONDITION', `the image has something that is no directory on the path /${wanted}`, { next: 'use an image that has directories there, or nothing' });
    throw err;
  } finally {
    fs.closeSync(root);
  }
}

/** Returns the number of mounts made or taken away; of `look` and `inside`, what they say. */
export function perform(native: Libc, operation: Operation): number {
  switch (operation.kind) {
    case 'overlay':
      mountOverlay(native, operation);
      return 1;
    case 'bind':
      mountBind(native, operation);
      return 1;
    case 'unmount':
      return unmount(native, operation.target);
    case 'look':
      return look(operation.target, operation.name);
    case 'reach':
      return withDirectory(native, operation.source, () => 1);
    case 'inside':
      return inside(native, operation.target, operation.path);
    case 'directories':
      return makeDirectories([operation.target, ...operation.more]);
  }
}
