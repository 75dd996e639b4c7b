/**
 * The address of the gRPC server: a unix socket that root alone may open. A socket that a killed service has left behind
 * is removed, but never one that somebody still listens on; a lock keeps two services from judging at the same moment.
 */
import * as fs from 'node:fs';
import * as net from 'node:net';
import { Failure } from '../../src/error';
import { LOCK_EX, LOCK_NB, libc } from '../../src/native/libc';

/** sun_path without its closing NUL; what is longer would be cut silently and listened on elsewhere. */
export const MAX_SOCKET_PATH_BYTES = 107;

const PROBE_MS = 2000;
const SCHEME = 'unix://';

export function socketPath(listen: string): string {
  const path = listen.startsWith(SCHEME) ? listen.slice(SCHEME.length) : listen;
  if (!path.startsWith('/')) throw new Failure('CONFIG_INVALID', `listen = ${JSON.stringify(listen)} is not the address of a unix socket`, { next: 'write it as "unix:///run/mesos-cvmfs/provisioner.sock"' });
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) throw new Failure('CONFIG_INVALID', `the socket path ${path} has ${bytes} bytes, the kernel takes ${MAX_SOCKET_PATH_BYTES}`, { next: 'choose a shorter path for listen' });
  return path;
}

function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    // A listener that does not accept is one all the same.
    const timer = setTimeout(() => end(true), PROBE_MS);
    socket.once('connect', () => end(true));
    socket.once('error', (err: NodeJS.ErrnoException) => end(err.code !== 'ECONNREFUSED' && err.code !== 'ENOENT'));
  });
}

async function removeStale(path: string): Promise<void> {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new Failure('FAILED_PRECONDITION', `${path} is there and is not a socket`, { next: 'remove it, or choose another path for listen' });
  if (await somebodyListens(path)) throw new Failure('FAILED_PRECONDITION', `somebody listens on ${path} already`, { next: 'stop the other service, or choose another path for listen' });
  fs.unlinkSync(path);
}

/** Runs `bind`, which has to bind the socket before it resolves, so that the socket is there with mode 0600 from its first instant. */
export async function bindSocket(path: string, bind: () => Promise<void>): Promise<void> {
  const lock = fs.openSync(`${path}.lock`, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  try {
    if (!libc().flock(lock, LOCK_EX | LOCK_NB)) throw new Failure('FAILED_PRECONDITION', `another service is about to listen on ${path}`, { next: 'start only one' });
    await removeStale(path);
    const before = process.umask(0o177);
    try {
      await bind();
    } finally {
      process.umask(before);
    }
  } finally {
    fs.closeSync(lock);
  }
}
