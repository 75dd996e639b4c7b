/**
 * Waits for the end of processes that are not our children, without asking for them again and again: one thread of
 * libuv's pool sleeps in poll(2) on a pidfd of each (pidfd_open(2), Linux 5.3), and on an eventfd that wakes it when the
 * set changes. The thread is there only while something is watched.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import koffi from 'koffi';
import { Failure } from '../error';

const SYS_PIDFD_OPEN = 434;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const POLLIN = 1;
const POLLFD_BYTES = 8;
/** Two processes for each mount of a keeper, and some more. */
const WATCHED_MAX = 10_000;

interface Watched {
  readonly pidfd: number;
  readonly ended: () => void;
}

export interface ProcessWatch {
  /**
   * Resolves when the process has ended, at once when there is none. The caller looks at the process' identity *after*
   * this call: from then on the number cannot stand for another one without this promise having been resolved.
   * RESOURCE_EXHAUSTED and SYSTEM when it cannot be watched.
   */
  ended(pid: number): Promise<void>;
  /** Forgets everything; promises that are open stay so, and keep no process alive. */
  close(): void;
}

export function createProcessWatch(): ProcessWatch {
  const lib = koffi.load('libc.so.6');
  const cSyscall = lib.func('long syscall(long number, long a, long b, long c)');
  const cEventfd = lib.func('int eventfd(unsigned int initial, int flags)');
  const cPoll = lib.func('int poll(uintptr_t fds, unsigned long count, int timeout)');
  const watched = new Set<Watched>();
  const noted = Buffer.alloc(8);
  noted.writeUInt32LE(1);
  let wake = -1;
  let closed = false;

  function failure(call: string): Failure {
    const number = koffi.errno();
    const errno = Object.entries(os.constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
    return new Failure('SYSTEM', `${call}: ${errno}`, { data: { errno } });
  }

  function drop(one: Watched): void {
    watched.delete(one);
    fs.closeSync(one.pidfd);
  }

  /** One sleep; then again as long as there is something to watch. */
  function sleep(): void {
    const polled = [...watched];
    const fds = Buffer.alloc(POLLFD_BYTES * (polled.length + 1));
    [wake, ...polled.map((one) => one.pidfd)].forEach((fd, i) => {
      fds.writeInt32LE(fd, POLLFD_BYTES * i);
      fds.writeInt16LE(POLLIN, POLLFD_BYTES * i + 4);
    });
    const happened = (i: number): boolean => fds.readInt16LE(POLLFD_BYTES * i + 6) !== 0;
    cPoll.async(koffi.address(fds), polled.length + 1, -1, () => {
      if (happened(0)) fs.readSync(wake, Buffer.alloc(8));
      const over = closed ? [] : polled.filter((_, i) => happened(i + 1));
      for (const one of over) drop(one);
      if (closed) for (const one of [...watched]) drop(one);
      if (watched.size > 0) sleep();
      else {
        fs.closeSync(wake);
        wake = -1;
      }
      for (const one of over) one.ended();
    });
  }

  return {
    ended(pid) {
      if (closed) return Promise.reject(new Failure('CANCELLED', 'processes are not watched any more'));
      if (watched.size >= WATCHED_MAX) return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${WATCHED_MAX} processes are watched already`));
      const pidfd = Number(cSyscall(SYS_PIDFD_OPEN, pid, 0, 0));
      if (pidfd < 0) return koffi.errno() === os.constants.errno.ESRCH ? Promise.resolve() : Promise.reject(failure(`pidfd_open of process ${pid}`));
      return new Promise((resolve) => {
        watched.add({ pidfd, ended: resolve });
        if (wake >= 0) fs.writeSync(wake, noted);
        else {
          wake = cEventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) as number;
          if (wake < 0) throw failure('eventfd');
          sleep();
        }
      });
    },
    close() {
      closed = true;
      if (wake >= 0) fs.writeSync(wake, noted);
    },
  };
}
