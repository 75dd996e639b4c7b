/**
 * The socket between a keeper and a process that it started: requests and answers in both directions, as lines of JSON of
 * the shape of json-lines.ts. A request with id 0 is a word that nobody answers.
 */
import type { Socket } from 'node:net';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import { onLines, parseMessage } from './json-lines';
import type { Message } from './json-lines';

const CALL_TIMEOUT_MS = 30_000;
/** Calls under way in one direction; a caller that has more is broken. */
const CALLS_MAX = 1_024;

/** Checks its parameters itself, since they come from another process. */
export type ChannelMethod = (params: unknown) => Promise<unknown> | unknown;

export interface ChannelOptions {
  /** What the other end is called in messages, e.g. `keeper`. */
  readonly name: string;
  readonly methods: Readonly<Record<string, ChannelMethod>>;
  readonly log: Logger;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (failure: Failure) => void;
  readonly timer: NodeJS.Timeout;
}

export class Channel {
  readonly #socket: Socket;
  readonly #options: ChannelOptions;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #answering = 0;
  /** Resolves when the other end has closed, which a process does by ending. */
  readonly ended: Promise<void>;

  constructor(socket: Socket, options: ChannelOptions) {
    this.#socket = socket;
    this.#options = options;
    onLines(socket, (text) => this.#arrived(text));
    socket.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      const over = (): void => {
        this.#closed();
        resolve();
      };
      socket.once('end', over);
      socket.once('close', over);
      if (socket.destroyed) over();
    });
  }

  /** Rejects with the other side's Failure, DEADLINE_EXCEEDED, or NETWORK when the other end is gone. */
  call(method: string, params: object = {}, timeoutMs: number = CALL_TIMEOUT_MS): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(this.#gone());
    if (this.#waiting.size >= CALLS_MAX) return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `the ${this.#options.name} has ${CALLS_MAX} calls to answer already`));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Failure('DEADLINE_EXCEEDED', `the ${this.#options.name} did not answer ${method} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#send({ id, method, params });
    });
  }

  /** Says something that needs no answer. */
  say(method: string, params: object = {}): void {
    this.#send({ id: 0, method, params });
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(message: object): void {
    if (!this.#socket.destroyed && this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  #gone(): Failure {
    return new Failure('NETWORK', `the ${this.#options.name} has gone`);
  }

  #arrived(text: string): void {
    let message: Message;
    try {
      message = parseMessage(text);
    } catch (error) {
      this.#socket.destroy(Failure.from(error));
      return;
    }
    if (message.method !== undefined) {
      void this.#answer(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.failure !== undefined) waiting.reject(Failure.fromJSON(message.failure));
    else waiting.resolve(message.result);
  }

  async #answer({ id, method, params }: Message): Promise<void> {
    const { methods, log } = this.#options;
    if (this.#answering >= CALLS_MAX) {
      this.#socket.destroy(new Failure('RESOURCE_EXHAUSTED', `${CALLS_MAX} calls are being answered`));
      return;
    }
    this.#answering += 1;
    try {
      const known = typeof method === 'string' && Object.hasOwn(methods, method) ? methods[method] : undefined;
      if (known === undefined) throw new Failure('UNIMPLEMENTED', `no method ${JSON.stringify(method)}`);
      const result = (await known(params)) ?? null;
      if (id !== 0) this.#send({ id, result });
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code === 'INTERNAL' || id === 0) log.error('message from the other end', { method: String(method), error });
      if (id !== 0) this.#send({ id, failure });
    } finally {
      this.#answering -= 1;
    }
  }

  #closed(): void {
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(this.#gone());
    }
    this.#waiting.clear();
  }
}
