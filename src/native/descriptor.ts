/** What one has to know of one's own open descriptors, and Node does not ask. */
import koffi from 'koffi';

const F_SETFD = 2;
const FD_CLOEXEC = 1;
const POLLERR = 0x08;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;

export interface Descriptors {
  /** Keeps a descriptor from the programs that this process starts; false when there is none of that number. */
  closeOnExec(fd: number): boolean;
  /** True when the other side is gone: of /dev/fuse, when its mount has ended or it never had one. Never waits. */
  hungUp(fd: number): boolean;
}

let bound: Descriptors | undefined;

/** The bindings, loaded once per thread. */
export function descriptors(): Descriptors {
  bound ??= bind();
  return bound;
}

function bind(): Descriptors {
  const lib = koffi.load('libc.so.6');
  const cFcntl = lib.func('int fcntl(int fd, int command, long argument)');
  const cPoll = lib.func('int poll(_Inout_ void *fds, unsigned long count, int timeoutMs)');
  return {
    closeOnExec: (fd) => cFcntl(fd, F_SETFD, FD_CLOEXEC) === 0,
    hungUp(fd) {
      // struct pollfd {int fd; short events, revents}: no events asked for, these come anyway.
      const entry = Buffer.alloc(8);
      entry.writeInt32LE(fd, 0);
      cPoll(entry, 1, 0);
      return (entry.readInt16LE(6) & (POLLERR | POLLHUP | POLLNVAL)) !== 0;
    },
  };
}
