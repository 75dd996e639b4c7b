/** The calling side of a control socket. */
import * as net from 'node:net';
import { Failure } from '../../error';
import { checkSocketPath, onLines, parseMessage } from './json-lines';

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

  /** Connects; NETWORK when nobody listens. `name` is for messages, e.g. `keeper`. */
  static connect(path: string, name: string): Promise<ControlClient> {
    checkSocketPath(path);
    return new Promise((resolve, reject) => {
      const socket = net.connect(path);
      const timer = setTimeout(() => socket.destroy(new Error('timed out')), CONNECT_TIMEOUT_MS);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        resolve(new ControlClient(socket, name));
      });
      socket.once('error', (error) => {
        clearTimeout(timer);
        reject(new Failure('NETWORK', `the ${name} does not answer at ${path}`, { cause: error }));
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
