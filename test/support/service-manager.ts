/** A service manager for one service, with a descriptor store (service-manager.py): the test kills, this starts again. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as path from 'node:path';
import { until } from './shell';

export interface ManagerEvent {
  readonly event: 'started' | 'ended' | 'said' | 'dropped' | 'listed';
  readonly pid?: number;
  readonly status?: number;
  readonly lines?: readonly string[];
  readonly descriptors?: number;
  readonly name?: string;
  readonly names?: readonly string[];
}

export interface ManagerOptions {
  /** A path, or `@name` in the abstract space. */
  readonly socket: string;
  /** FileDescriptorStoreMax=; what is more is dropped without a word. */
  readonly storeMax: number;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export class ServiceManager {
  readonly #child: ChildProcess;
  readonly #events: ManagerEvent[] = [];
  #waiting = '';
  #errors = '';

  constructor(options: ManagerOptions) {
    const { socket, storeMax: store_max, command, environment = {} } = options;
    this.#child = spawn('python3', [path.join(__dirname, 'service-manager.py'), JSON.stringify({ socket, store_max, command, environment: { PATH: process.env['PATH'] ?? '', ...environment } })], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#waiting + text).split('\n');
      this.#waiting = lines.pop()!;
      for (const line of lines) this.#events.push(JSON.parse(line) as ManagerEvent);
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
  }

  /** What the manager and the service wrote on standard error. */
  get errors(): string {
    return this.#errors;
  }

  of(event: ManagerEvent['event']): ManagerEvent[] {
    return this.#events.filter((one) => one.event === event);
  }

  /** All lines of all messages. */
  get said(): string[] {
    return this.of('said').flatMap(({ lines }) => lines ?? []);
  }

  /** Starts the service with what is in the store; `listenPid` tells it a lie. Resolves to its process id. */
  async start(listenPid?: number): Promise<number> {
    const before = this.of('started').length;
    this.#order({ do: 'start', ...(listenPid === undefined ? {} : { listen_pid: listenPid }) });
    await until('the service is started', () => this.of('started').length > before);
    return this.of('started').at(-1)!.pid!;
  }

  /** The same, and waits for its READY=1. */
  async startReady(listenPid?: number): Promise<number> {
    const before = this.said.filter((line) => line === 'READY=1').length;
    const pid = await this.start(listenPid);
    await until(`the service says that it is ready\n${this.#errors}`, () => this.said.filter((line) => line === 'READY=1').length > before);
    return pid;
  }

  /** Puts a descriptor of its own into the store. */
  store(name: string, file: string): void {
    this.#order({ do: 'store', name, path: file });
  }

  /** Names of what is in the store. */
  async stored(): Promise<readonly string[]> {
    const before = this.of('listed').length;
    this.#order({ do: 'list' });
    await until('the store is listed', () => this.of('listed').length > before);
    return this.of('listed').at(-1)!.names!;
  }

  /** Ends the manager, and with it what is in its store; the service runs on. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    // Not until its streams are closed: the service may live on, and holds them too.
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin!.end();
    await ended;
    this.#child.stdout!.destroy();
    this.#child.stderr!.destroy();
  }

  #order(order: object): void {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`);
  }
}
