/**
 * The control sockets of keeper and file system servers: requests and answers as one line of JSON each, over a unix
 * socket of mode 0600.
 *
 *     → {"id":1,"method":"mount","params":{…}}\n
 *     ← {"id":1,"result":{…}}\n      or      {"id":1,"failure":{"code":"NOT_FOUND","what":"…","data":{}}}\n
 *
 * Requests of one connection may overlap. Paths travel as base64, since they are bytes. Lines are limited; whoever sends
 * a longer one is cut off.
 */
import type { Socket } from 'node:net';
import { Failure } from '../../error';

/** Longest line either side accepts: a 4 MiB file in base64 and what is around it. */
export const LINE_BYTES_MAX = 8 * 1024 * 1024;

/** Longest path of a unix socket; more is cut silently by the kernel's structure. */
export const SOCKET_PATH_BYTES_MAX = 107;

export function checkSocketPath(path: string): string {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new Failure('CONFIG_INVALID', `socket path ${path} is longer than ${SOCKET_PATH_BYTES_MAX} bytes`, { next: 'use a shorter run_dir' });
  }
  return path;
}

/** Calls `line` for each line that arrives; ends the connection when one is too long. */
export function onLines(socket: Socket, line: (text: string) => void): void {
  let parts: Buffer[] = [];
  let held = 0;
  socket.on('data', (chunk: Buffer) => {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      parts.push(chunk.subarray(from, end));
      const text = Buffer.concat(parts).toString();
      parts = [];
      held = 0;
      from = end + 1;
      line(text);
    }
    if (from < chunk.length) {
      parts.push(chunk.subarray(from));
      held += chunk.length - from;
      if (held > LINE_BYTES_MAX) socket.destroy(new Failure('RESOURCE_EXHAUSTED', `a control message is longer than ${LINE_BYTES_MAX} bytes`));
    }
  });
}

/** What a peer sent, as far as its outer shape goes. */
export interface Message {
  readonly id: number;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly failure?: unknown;
}

export function parseMessage(text: string): Message {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Failure('INVALID_ARGUMENT', 'a control message is not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || typeof (value as { id?: unknown }).id !== 'number') {
    throw new Failure('INVALID_ARGUMENT', 'a control message has no id');
  }
  return value as Message;
}

/** Descriptor of a connected socket; Node keeps it in the handle and offers no accessor. */
export function socketDescriptor(socket: Socket): number {
  const handle = (socket as unknown as { _handle?: { fd?: number } })._handle;
  return handle?.fd ?? -1;
}
