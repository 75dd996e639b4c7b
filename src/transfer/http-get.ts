/**
 * One GET by Node's own HTTP client, up to the headers of the answer; the body is then the caller's to read or to destroy.
 *
 * Node's own because a library must survive every server: undici 7, the last for Node 20, brings the whole process down when
 * a connection is closed while the reader of its body is behind (nodejs/undici#5360).
 */
import * as http from 'node:http';
import type { Socket } from 'node:net';

export const MAX_HEADER_BYTES = 16 * 1024;

export interface GetOptions extends http.RequestOptions {
  /** For an agent that does more than connect: aborted when the request no longer wants its connection. */
  wanted?: AbortSignal;
}

/** A kept-alive connection was closed under the request before one byte of answer: nobody's fault. */
export class StaleConnection extends Error {
  readonly code = 'ECONNRESET';
}

/** Node listens for a socket's errors only while a request has it: one that comes in between would end the process. */
const ignore = (): void => undefined;

/**
 * Throws the signal's reason, ETIMEDOUT, StaleConnection, or what Node says. The signal ends the body too. `timeoutMs` is
 * for the connection, TLS and a proxy's tunnel included, and then again for the headers; without it the signal is the limit.
 */
export function httpGet(options: GetOptions, signal: AbortSignal, timeoutMs?: number): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const wanted = new AbortController();
    const request = http.request({ maxHeaderSize: MAX_HEADER_BYTES, ...options, wanted: wanted.signal, method: 'GET' } as GetOptions);
    let answer: http.IncomingMessage | undefined;
    let socket: Socket | undefined;
    let reused = false;
    let bytesReadBefore = 0;
    let sent = false;

    // A request that still waits for its connection says nothing when it is destroyed, so this does.
    const stop = (reason: unknown): void => {
      reject(reason);
      settle();
      wanted.abort();
      (answer ?? request).destroy(reason as Error);
    };
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
    };
    const aborted = (): void => stop(signal.reason);
    signal.addEventListener('abort', aborted, { once: true });
    const overdue = (): void => stop(Object.assign(new Error(`no ${sent ? 'answer' : 'connection'} within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
    const timer = timeoutMs === undefined ? undefined : setTimeout(overdue, timeoutMs);

    request.once('socket', (given) => {
      socket = given;
      bytesReadBefore = given.bytesRead;
      reused = given.listeners('error').includes(ignore);
      if (!reused) given.on('error', ignore);
    });
    request.once('finish', () => {
      sent = true;
      if (answer === undefined) timer?.refresh();
    });
    request.once('response', (response) => {
      clearTimeout(timer);
      answer = response;
      // Without a listener a body that breaks off now, before its reader comes, would just end.
      response.on('error', ignore);
      resolve(response);
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      const stale = reused && (error.code === 'ECONNRESET' || error.code === 'EPIPE') && socket?.bytesRead === bytesReadBefore;
      reject(stale ? new StaleConnection(error.message, { cause: error }) : error);
      // A reset would pass for the end of a body of unannounced length. What follows a complete body is not its business.
      if (answer?.complete === false) answer.destroy(error);
    });
    request.once('close', () => {
      settle();
      reject(new Error('the connection ended without an answer'));
    });
    request.end();
  });
}
