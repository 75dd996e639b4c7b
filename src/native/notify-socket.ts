/**
 * Messages to the service manager, `sd_notify(3)`'s protocol: one datagram of `NAME=value` lines to the unix socket that
 * `$NOTIFY_SOCKET` names (`/path`, or `@name` in the abstract space), with descriptors beside it.
 */
import * as fs from 'node:fs';
import koffi from 'koffi';
import { Failure } from '../error';
import { descriptorSocket } from './descriptor-socket';
import { errnoName } from './libc';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** `sizeof(sun_path)` of sockaddr_un. */
const PATH_BYTES_MAX = 108;
const ATTEMPTS_MAX = 50;
const ATTEMPT_MS = 100;

export interface NotifySocket {
  /**
   * Sends one message, without waiting. False while the manager's queue is full: later may help. SYSTEM with `data.errno`
   * ECONNREFUSED or ENOENT when nobody listens. The descriptors stay the caller's.
   */
  send(lines: readonly string[], descriptors?: readonly number[]): boolean;
}

/** `sockaddr_un` of a notify socket's name, without the bytes that do not count. */
function address(name: string): Buffer {
  const path = Buffer.from(name);
  const abstract = path[0] === 0x40;
  if (path.length < 2 || (!abstract && path[0] !== 0x2f)) throw new Failure('INVALID_ARGUMENT', `NOTIFY_SOCKET is ${JSON.stringify(name)}, neither a path nor an abstract name`);
  if (path.includes(0) || path.length + (abstract ? 0 : 1) > PATH_BYTES_MAX) throw new Failure('INVALID_ARGUMENT', `NOTIFY_SOCKET is longer than ${PATH_BYTES_MAX} bytes, or holds a NUL`);
  if (abstract) path[0] = 0;
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), path, ...(abstract ? [] : [Buffer.alloc(1)])]);
}

/** The manager's socket by its name in `$NOTIFY_SOCKET`. INVALID_ARGUMENT for a name that can be none. */
export function openNotifySocket(name: string): NotifySocket {
  const target = address(name);
  const lib = koffi.load('libc.so.6');
  const cSocket = lib.func('int socket(int domain, int type, int protocol)');
  const cConnect = lib.func('int connect(int fd, const void *address, uint32_t length)');
  const descriptors = descriptorSocket();

  return {
    send(lines, fds = []) {
      // A socket for each message: they are few, and a manager that was started anew has the same name but another socket.
      const fd = cSocket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as number;
      if (fd < 0) throw failure('socket');
      try {
        if ((cConnect(fd, target, target.length) as number) !== 0) {
          const failed = failure('connect');
          if (failed.data['errno'] === 'EAGAIN') return false;
          throw failed;
        }
        return descriptors.send(fd, Buffer.from(`${lines.join('\n')}\n`), fds);
      } finally {
        fs.closeSync(fd);
      }
    },
  };

  function failure(call: string): Failure {
    const errno = errnoName(koffi.errno());
    return new Failure('SYSTEM', `${call} to the service manager (${name}): ${errno}`, { data: { errno } });
  }
}

/**
 * The service manager of this process, null when there is none that wants to hear of it. The variable is gone afterwards:
 * what this process starts is not the service. INVALID_ARGUMENT as above.
 */
export function notifySocketOf(environment: NodeJS.ProcessEnv): NotifySocket | null {
  const name = environment['NOTIFY_SOCKET'];
  delete environment['NOTIFY_SOCKET'];
  return name === undefined || name === '' ? null : openNotifySocket(name);
}

/** Says something once that matters, waiting a little for room in the manager's queue. Throws what `send` throws. */
export async function notify(socket: NotifySocket, lines: readonly string[]): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (socket.send(lines)) return;
    await new Promise((resolve) => setTimeout(resolve, ATTEMPT_MS));
  }
  throw new Failure('NETWORK', 'the service manager takes no messages');
}
