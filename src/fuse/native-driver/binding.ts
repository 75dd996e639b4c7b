/**
 * The package fuse-native 2.2.6 as this driver uses it. It calls libfuse 2 and hands each call to JavaScript, by path.
 * Four of its ways are replaced here, since they would mount with other options than ours, or give wrong data:
 *
 * - options: it knows no `ro`, `nosuid`, `nodev` and `use_ino`;
 * - getxattr copies what fits and answers the whole length, with which libfuse reads past the buffer's end;
 * - listxattr writes past it, and answers a length that is 128 too long when it is asked for one;
 * - its own time-out answers a read that goes on into a buffer that is gone: it is off, requests have a deadline of ours.
 *
 * `force` and `mkdir` are never set: the first unmounts what it takes for a dead mount of its own.
 */
import { constants } from 'node:os';
import { Failure } from '../../error';

/** An answer: 0, a length, or a negative errno; and what the call gives. */
export type Reply<T = never> = (status: number, value?: T) => void;

/** As the package wants it: numbers of 32 bits, but for size and blocks; times in milliseconds since 1970. */
export interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly ino: number;
  readonly rdev: number;
  readonly blksize: number;
  readonly blocks: number;
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

export interface Statfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly namemax: number;
}

/** What the driver implements. Paths are absolute from the mount's root, `/` the root. */
export interface Operations {
  getattr(path: string, reply: Reply<Stat>): void;
  readdir(path: string, reply: (status: number, names?: readonly string[], stats?: readonly Stat[]) => void): void;
  readlink(path: string, reply: Reply<string>): void;
  open(path: string, flags: number, reply: Reply<number>): void;
  read(path: string, handle: number, buffer: Buffer, length: number, offset: number, reply: Reply<number>): void;
  release(path: string, handle: number, reply: Reply): void;
  statfs(path: string, reply: Reply<Statfs>): void;
}

/** Extended attributes go past the package's own handlers. */
export interface Attributes {
  getxattr(path: string, name: string): Promise<Buffer | number>;
  /** Names, each ended by a zero byte; or an errno. */
  listxattr(path: string): Promise<Buffer | number>;
}

interface FuseBase {
  readonly ops: object;
  mount(done: (error: Error | null) => void): void;
}
type FuseClass = new (mountpoint: string, operations: object, options: object) => FuseBase;
type Signal = (status: number, memory: ArrayBufferLike) => void;

/** Bytes of a mount point and of all options that the package copies. */
const MOUNTPOINT_BYTES_MAX = 1_000;
const OPTIONS_BYTES_MAX = 1_000;
const INSTALL = 'install libfuse 2 (Debian 12: apt-get install libfuse2, Ubuntu 24.04: libfuse2t64), or use fuse.driver = "kernel"';

function load(): FuseClass {
  try {
    return require('fuse-native') as FuseClass;
  } catch (error) {
    const text = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    throw new Failure('UNIMPLEMENTED', `the fuse-native driver does not load: ${text}`, { cause: error, next: INSTALL });
  }
}

/** Answers with a value, or with its length when that is what the caller asks for. */
function sized(value: Buffer | number, into: Buffer, signal: Signal): void {
  if (typeof value === 'number') return signal(-value, into.buffer);
  if (into.length === 0) return signal(value.length, into.buffer);
  if (value.length > into.length) return signal(-constants.errno.ERANGE, into.buffer);
  value.copy(into);
  signal(value.length, into.buffer);
}

/** Mounts, and resolves when the kernel has been answered for the first time. `options`: for mount and libfuse. */
export async function mountNative(mountpoint: string, options: readonly string[], operations: Operations, attributes: Attributes): Promise<void> {
  const Base = load();
  const text = `-o${options.join(',')}`;
  if (Buffer.byteLength(mountpoint) > MOUNTPOINT_BYTES_MAX || Buffer.byteLength(text) > OPTIONS_BYTES_MAX) {
    throw new Failure('INVALID_ARGUMENT', `the mount point ${mountpoint} is too long for the fuse-native driver`, { next: 'choose a shorter one' });
  }
  class Fuse extends Base {
    _fuseOptions(): string {
      return text;
    }

    _op_getxattr(signal: Signal, path: string, name: string, into: Buffer): void {
      void attributes.getxattr(path, name).then((value) => sized(value, into, signal));
    }

    _op_listxattr(signal: Signal, path: string, into: Buffer): void {
      void attributes.listxattr(path).then((value) => sized(value, into, signal));
    }
  }
  // The package asks only whether these two are there.
  const all = { ...operations, getxattr: true, listxattr: true };
  const fuse = new Fuse(mountpoint, all, { timeout: false });
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error === null || error === undefined ? resolve() : reject(new Failure('SYSTEM', `libfuse cannot mount at ${mountpoint}: ${error.message}`, { cause: error, next: 'see whether /dev/fuse is there, and whether something is mounted at that place already' }))));
  });
}
