/** The calling side of a control socket. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { Failure } from '../../error';
import { libc } from '../../native/libc';
import { checkSocketPath, onLines, parseMessage, socketDescriptor } from './json-lines';

/** Default of how long a call may take; calls that wait for the network pass their own. */
const CALL_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (failure: Failure) => void;
  readonly timer: NodeJS.Timeout;
}

export class ControlClient {
  readonly #socket: net.Socket;
  readonly #name: string;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  private constructor(socket: net.Socket, name: string) {
    this.#socket = socket;
    this.#name = name;
    onLines(socket, (text) => this.#arrived(text));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#closed());
  }

  /**
   * Connects; NETWORK when nobody listens. `name` is for messages, e.g. `keeper`. Whoever listens must be the owner of the
   * socket's folder, else PERMISSION_DENIED before a word is said: a server's user may put a link in the place of its
   * socket, and root must not be led to somebody else's.
   */
  static connect(socketPath: string, name: string): Promise<ControlClient> {
    checkSocketPath(socketPath);
    return new Promise((resolve, reject) => {
      const socket = net.connect(socketPath);
      const timer = setTimeout(() => socket.destroy(new Error('timed out')), CONNECT_TIMEOUT_MS);
      socket.once('error', (error) => {
        clearTimeout(timer);
        reject(error instanceof Failure ? error : new Failure('NETWORK', `the ${name} does not answer at ${socketPath}`, { cause: error }));
      });
      socket.once('connect', () => {
        clearTimeout(timer);
        try {
          checkPeer(socket, socketPath, name);
        } catch (error) {
          socket.destroy(Failure.from(error));
          return;
        }
        socket.removeAllListeners('error');
        resolve(new ControlClient(socket, name));
      });
    });
  }

  /** Calls `method`; rejects with the other side's Failure, DEADLINE_EXCEEDED, or NETWORK when the connection ends. */
  call(method: string, params: unknown = {}, timeoutMs: number = CALL_TIMEOUT_MS): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(new Failure('NETWORK', `the ${this.#name} has gone`));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Failure('DEADLINE_EXCEEDED', `the ${this.#name} did not answer ${method} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  /** Resolves when the connection has ended, for whatever reason. */
  get ended(): Promise<void> {
    return this.#socket.destroyed ? Promise.resolve() : new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  /** Lets the process exit while the connection is open. */
  unref(): void {
    this.#socket.unref();
  }

  close(): void {
    this.#socket.destroy();
  }

  #arrived(text: string): void {
    let message;
    try {
      message = parseMessage(text);
    } catch (error) {
      this.#socket.destroy(Failure.from(error));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.failure !== undefined) waiting.reject(Failure.fromJSON(message.failure));
    else waiting.resolve(message.result);
  }

  #closed(): void {
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(new Failure('NETWORK', `the ${this.#name} ended the connection`));
    }
    this.#waiting.clear();
  }
}

function checkPeer(socket: net.Socket, socketPath: string, name: string): void {
  const owner = fs.lstatSync(path.dirname(socketPath)).uid;
  const { uid, pid } = libc().peerCredentials(socketDescriptor(socket));
  if (uid === owner) return;
  throw new Failure('PERMISSION_DENIED', `at ${socketPath} process ${pid} of user ${uid} listens, not the ${name} of user ${owner}`, { next: `see what is at ${socketPath}` });
}
