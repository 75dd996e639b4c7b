/**
 * The system calls that Node does not offer, through koffi (a foreign function library with prebuilt binaries inside its
 * npm package; a call costs about a microsecond, as much as an addon's, and there is nothing to compile).
 *
 * Paths are bytes: a `Buffer` without NUL. Every call that fails throws a `Failure` of code SYSTEM, or NO_SPACE, with
 * `data.errno` set to the symbolic name. The library is loaded at the first `libc()`, not at import.
 */
import * as os from 'node:os';
import koffi from 'koffi';
import { Failure } from '../error';

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;

export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

export const LOCK_EX = 2;
export const LOCK_NB = 4;

export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;

export const O_PATH = 0o10000000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_CLOEXEC = 0o2000000;

const AT_FDCWD = -100;
const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** Linux syscall number of openat2, the same on every architecture since it is a late one. */
const SYS_OPENAT2 = 437;
const POLLERR = 0x08;
const POLLNVAL = 0x20;
const RLIMIT_NOFILE = 7;
const POSIX_FADV_WILLNEED = 3;
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Libc {
  /** mount(2). `source`, `type` and `data` may be null. */
  mount(source: Buffer | string | null, target: Buffer | string, type: string | null, flags: number, data: Buffer | string | null): void;
  umount2(target: Buffer | string, flags: number): void;
  /** flock(2) on an open descriptor; false when LOCK_NB is set and somebody else holds it. */
  flock(fd: number, operation: number): boolean;
  /** openat2(2) with resolve flags; returns the descriptor, close-on-exec. `dirfd` null: relative to the cwd. */
  openat2(dirfd: number | null, path: Buffer | string, flags: number, resolve: number): number;
  /** prctl(PR_SET_NO_NEW_PRIVS): nothing this process runs gains privileges any more. */
  setNoNewPrivileges(): void;
  /** prctl(PR_SET_PDEATHSIG, SIGKILL): the kernel ends this process with the thread that started it, also inside a system call. */
  dieWithParent(): void;
  /** Credentials of the process at the other end of a connected unix socket. */
  peerCredentials(fd: number): PeerCredentials;
  /** Extended attributes of the file itself, links not followed. */
  lgetxattr(path: Buffer | string, name: Buffer | string): Buffer | null;
  llistxattr(path: Buffer | string): Buffer[];
  lsetxattr(path: Buffer | string, name: Buffer | string, value: Buffer): void;
  /** mknod(2) with the device number as the kernel packs it (glibc's makedev). */
  mknod(path: Buffer | string, mode: number, device: bigint): void;
  /** A duplicate of another process' descriptor (pidfd_getfd(2)); needs the right to trace that process. */
  descriptorOf(pid: number, fd: number): number;
  /** dup3(2): makes `target` another name of what `fd` is, close-on-exec; what `target` was is closed. */
  duplicateTo(fd: number, target: number): void;
  /** True when poll(2) reports an error on the descriptor: of /dev/fuse, that its mount is gone. Never waits. */
  hasError(fd: number): boolean;
  /** Raises this process' limit of open files, and so its children's, when it is lower; false without the right to. */
  raiseOpenFiles(wanted: number): boolean;
  /** Has the kernel begin to read a file's first bytes from the disk (posix_fadvise(3)); never waits for them, never fails. */
  willNeed(fd: number, bytes: number): void;
  /** Gives the free pages of malloc's arenas back to the kernel (malloc_trim(3)). */
  trimMemory(): void;
  /** ioctl(2) with a pointer argument. */
  ioctl(fd: number, request: number, argument: Buffer): number;
}

const nul = Buffer.from([0]);

/** The bytes of a path as a C string; a path with a NUL inside would be cut silently, so it is refused. */
function cstring(text: Buffer | string): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  if (bytes.includes(0)) throw new Failure('INVALID_ARGUMENT', `a path or option holds a NUL byte: ${JSON.stringify(bytes.toString('latin1'))}`);
  return Buffer.concat([bytes, nul]);
}

export function errnoName(number: number): string {
  for (const [name, value] of Object.entries(os.constants.errno)) if (value === number) return name;
  return `errno ${number}`;
}

function shown(path: Buffer | string | null): string {
  return path === null ? '' : ` ${typeof path === 'string' ? path : path.toString()}`;
}

function systemFailure(call: string, path: Buffer | string | null): Failure {
  const errno = errnoName(koffi.errno());
  return new Failure(errno === 'ENOSPC' || errno === 'EDQUOT' ? 'NO_SPACE' : 'SYSTEM', `${call}${shown(path)}: ${errno}`, { data: { errno } });
}

function bind(): Libc {
  const lib = koffi.load('libc.so.6');
  const cMount = lib.func('int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)');
  const cUmount2 = lib.func('int umount2(const void *target, int flags)');
  const cFlock = lib.func('int flock(int fd, int operation)');
  const cSyscall = lib.func('long syscall(long number, long a, const void *b, const void *c, long d)');
  const cSyscall3 = lib.func('long syscall(long number, long a, long b, long c)');
  const cClose = lib.func('int close(int fd)');
  const cDup3 = lib.func('int dup3(int fd, int target, int flags)');
  const cPoll = lib.func('int poll(_Inout_ void *fds, unsigned long count, int timeout)');
  const cGetrlimit = lib.func('int getrlimit(int resource, _Out_ void *limits)');
  const cSetrlimit = lib.func('int setrlimit(int resource, const void *limits)');
  const cFadvise = lib.func('int posix_fadvise(int fd, long offset, long length, int advice)');
  const cTrim = lib.func('int malloc_trim(size_t pad)');
  const cPrctl = lib.func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)');
  const cGetsockopt = lib.func('int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ void *length)');
  const cLgetxattr = lib.func('long lgetxattr(const void *path, const void *name, _Out_ void *value, size_t size)');
  const cLlistxattr = lib.func('long llistxattr(const void *path, _Out_ void *list, size_t size)');
  const cLsetxattr = lib.func('int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)');
  const cMknod = lib.func('int mknod(const void *path, unsigned int mode, unsigned long device)');
  const cIoctl = lib.func('int ioctl(int fd, unsigned long request, _Inout_ void *argument)');

  /** Both attribute calls take a buffer and say ERANGE when it is too small, so the size is asked for first. */
  function sized(call: string, path: Buffer | string, ask: (buffer: Buffer | null, size: number) => number): Buffer | null {
    for (let attempt = 0; attempt < 4; attempt++) {
      const size = Number(ask(null, 0));
      if (size === 0) return Buffer.alloc(0);
      if (size > 0) {
        const buffer = Buffer.alloc(size);
        const got = Number(ask(buffer, size));
        if (got >= 0) return buffer.subarray(0, got);
      }
      const errno = errnoName(koffi.errno());
      if (errno === 'ENODATA' || errno === 'EOPNOTSUPP') return null;
      if (errno !== 'ERANGE') throw systemFailure(call, path);
    }
    throw new Failure('SYSTEM', `${call}${shown(path)}: the value keeps changing its size`, { data: { errno: 'ERANGE' } });
  }

  return {
    mount(source, target, type, flags, data) {
      const result = cMount(source === null ? null : cstring(source), cstring(target), type === null ? null : cstring(type), flags, data === null ? null : cstring(data));
      if (result !== 0) throw systemFailure('mount', target);
    },
    umount2(target, flags) {
      if (cUmount2(cstring(target), flags) !== 0) throw systemFailure('umount', target);
    },
    flock(fd, operation) {
      if (cFlock(fd, operation) === 0) return true;
      if (errnoName(koffi.errno()) === 'EAGAIN') return false;
      throw systemFailure('flock', null);
    },
    openat2(dirfd, path, flags, resolve) {
      const how = Buffer.alloc(24);
      how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
      how.writeBigUInt64LE(BigInt(resolve), 16);
      const fd = Number(cSyscall(SYS_OPENAT2, dirfd ?? AT_FDCWD, cstring(path), how, how.length));
      if (fd < 0) throw systemFailure('openat2', path);
      return fd;
    },
    setNoNewPrivileges() {
      if (cPrctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) throw systemFailure('prctl', null);
    },
    dieWithParent() {
      if (cPrctl(PR_SET_PDEATHSIG, os.constants.signals.SIGKILL, 0, 0, 0) !== 0) throw systemFailure('prctl', null);
    },
    peerCredentials(fd) {
      const value = Buffer.alloc(12);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(value.length);
      if (cGetsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length) !== 0) throw systemFailure('getsockopt', null);
      return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
    },
    lgetxattr(path, name) {
      const p = cstring(path);
      const n = cstring(name);
      return sized('lgetxattr', path, (buffer, size) => cLgetxattr(p, n, buffer, size) as number);
    },
    llistxattr(path) {
      const p = cstring(path);
      const list = sized('llistxattr', path, (buffer, size) => cLlistxattr(p, buffer, size) as number);
      const names: Buffer[] = [];
      for (let at = 0; list !== null && at < list.length; ) {
        const end = list.indexOf(0, at);
        if (end < 0) break;
        names.push(list.subarray(at, end));
        at = end + 1;
      }
      return names;
    },
    lsetxattr(path, name, value) {
      if (cLsetxattr(cstring(path), cstring(name), value, value.length, 0) !== 0) throw systemFailure('lsetxattr', path);
    },
    mknod(path, mode, device) {
      if (cMknod(cstring(path), mode, device) !== 0) throw systemFailure('mknod', path);
    },
    descriptorOf(pid, fd) {
      const pidfd = Number(cSyscall3(SYS_PIDFD_OPEN, pid, 0, 0));
      if (pidfd < 0) throw systemFailure(`pidfd_open of process ${pid}`, null);
      try {
        const copy = Number(cSyscall3(SYS_PIDFD_GETFD, pidfd, fd, 0));
        if (copy < 0) throw systemFailure(`pidfd_getfd of process ${pid}`, null);
        return copy;
      } finally {
        cClose(pidfd);
      }
    },
    duplicateTo(fd, target) {
      if (cDup3(fd, target, O_CLOEXEC) !== target) throw systemFailure('dup3', null);
    },
    hasError(fd) {
      const polled = Buffer.alloc(8);
      polled.writeInt32LE(fd, 0);
      return cPoll(polled, 1, 0) === 1 && (polled.readInt16LE(6) & (POLLERR | POLLNVAL)) !== 0;
    },
    raiseOpenFiles(wanted) {
      const limits = Buffer.alloc(16);
      if (cGetrlimit(RLIMIT_NOFILE, limits) !== 0) throw systemFailure('getrlimit', null);
      const [soft, hard] = [limits.readBigUInt64LE(0), limits.readBigUInt64LE(8)];
      if (soft >= BigInt(wanted)) return true;
      limits.writeBigUInt64LE(BigInt(wanted), 0);
      if (hard < BigInt(wanted)) limits.writeBigUInt64LE(BigInt(wanted), 8);
      return cSetrlimit(RLIMIT_NOFILE, limits) === 0;
    },
    willNeed(fd, bytes) {
      cFadvise(fd, 0, bytes, POSIX_FADV_WILLNEED);
    },
    trimMemory() {
      cTrim(0);
    },
    ioctl(fd, request, argument) {
      const result = cIoctl(fd, request, argument) as number;
      if (result < 0) throw systemFailure('ioctl', null);
      return result;
    },
  };
}

let bound: Libc | undefined;

/** The bindings, loaded once per thread. */
export function libc(): Libc {
  bound ??= bind();
  return bound;
}
