/** A process that the keeper started: a standby first, the file system server of one mount when it is told to. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import type { Socket } from 'node:net';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import { socketDescriptor } from '../control/json-lines';
import { Channel } from '../control/channel';
import type { DescriptorSocket } from '../../native/descriptor-socket';
import type { Negotiated } from '../kernel/init';
import { startTicks } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { VERSION } from '../../version';
import { CHANNEL_FD, checkHello, DESCRIPTORS_FD, progressShape, PROTOCOL } from '../server/envelope';
import type { Announced, Envelope, Hello, Progress } from '../server/envelope';
import { killProcess } from './kill-process';
import { serverFile } from './program';
import type { Program } from './program';

/**
 * A server holds little that lives long; without a small young generation V8 keeps tens of MiB of dead buffers. What it
 * does for a container's start it does for the first times: V8's four helper threads, which collect and compile meanwhile,
 * then take from two processors what the start needs, and code that is compiled simply at its first run pays at once
 * (measured: a python start of 44 objects 0.83 s before, 0.67 s with these three, median of eight).
 */
export const NODE_OPTIONS = ['--max-semi-space-size=1', '--optimize-for-size', '--expose-gc', '--single-threaded-gc', '--v8-pool-size=1', '--always-sparkplug'];
/** One malloc arena a thread, glibc's default, keeps what each thread once needed for ever. */
export const SERVER_ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', MALLOC_ARENA_MAX: '2' };
/** Rehearsing takes a second of a processor; much more means that there are none. */
const WARM_TIMEOUT_MS = 120_000;
/** The socket that descriptors go through takes some hundred messages; a standby that is starting reads none for a moment. */
const SEND_AGAIN_MS = 5;
const SEND_TIMEOUT_MS = 30_000;

/** The server of a mount, however the keeper came to it. */
export interface ServerProcess {
  readonly identity: ProcessIdentity;
  /** What its program says of itself; null while it has not. */
  readonly version: string | null;
  /** Ends with the process; true when it had said that its mount is gone from the kernel. */
  readonly ended: Promise<{ readonly gone: boolean }>;
  /** How far its reader workers are; rejects when its main thread does not answer in time. */
  ping(timeoutMs: number): Promise<Progress>;
}

export interface StandbyOptions {
  readonly program: Program;
  readonly runDir: string;
  readonly logFd: number;
  readonly uid: number;
  readonly gid: number;
  readonly sockets: DescriptorSocket;
  readonly log: Logger;
}

/** A descriptor of the envelope for reading. Its file has lost its name before it has the secrets in it, whatever fails. */
export function envelopeDescriptor(keeperDir: string, envelope: Envelope): number {
  const file = path.join(keeperDir, `${envelope.id}.${process.pid}.envelope`);
  fs.rmSync(file, { force: true });
  const fd = fs.openSync(file, 'wx+', 0o600);
  try {
    fs.rmSync(file);
    fs.writeFileSync(fd, JSON.stringify(envelope));
    return fs.openSync(`/proc/self/fd/${fd}`, 'r');
  } finally {
    fs.closeSync(fd);
  }
}

export class StandbyProcess implements ServerProcess {
  readonly identity: ProcessIdentity;
  readonly uid: number;
  readonly gid: number;
  readonly ended: Promise<{ readonly gone: boolean }>;
  /** Resolves when it has said that it speaks our protocol; FAILED_PRECONDITION when it does not, and then it is ended. */
  readonly hello: Promise<Hello>;
  #version: string | null = null;
  readonly #channel: Channel;
  readonly #socket: number;
  readonly #sockets: DescriptorSocket;
  /** Announcements go one after another, since descriptors and words must match. */
  #sending: Promise<void> = Promise.resolve();
  #gone = false;
  #over = false;

  private constructor(child: ChildProcess, pid: number, options: StandbyOptions) {
    this.identity = { pid, startTicks: startTicks(pid) ?? 0 };
    this.uid = options.uid;
    this.gid = options.gid;
    this.#sockets = options.sockets;
    const stdio = child.stdio as unknown as readonly Socket[];
    this.#socket = socketDescriptor(stdio[DESCRIPTORS_FD]!);
    stdio[DESCRIPTORS_FD]!.on('error', () => undefined);
    this.#channel = new Channel(stdio[CHANNEL_FD]!, {
      name: 'file system server',
      log: options.log,
      methods: {
        gone: () => {
          this.#gone = true;
        },
      },
    });
    // `close` comes after the channel's end, so a last word is not lost.
    this.ended = new Promise((resolve) =>
      child.once('close', () => {
        this.#over = true;
        resolve({ gone: this.#gone });
      }),
    );
    this.hello = this.#greet();
    this.hello.catch((error: unknown) => {
      if (Failure.from(error).code !== 'FAILED_PRECONDITION') return;
      options.log.error('a file system server of another version is of no use', { pid, error });
      killProcess(pid);
    });
  }

  /** SYSTEM when there is no process to be had. */
  static start(options: StandbyOptions): StandbyProcess {
    const child = spawn(options.program.node, [...NODE_OPTIONS, serverFile(options.program), options.runDir], {
      // A session of its own: a signal to the keeper's group, or its death, does not reach it.
      detached: true,
      cwd: '/',
      env: SERVER_ENVIRONMENT,
      uid: options.uid,
      gid: options.gid,
      stdio: ['ignore', options.logFd, options.logFd, 'pipe', 'ignore', 'ignore', 'pipe'],
    });
    // Told once more when there is no process to speak of.
    child.on('error', () => undefined);
    if (child.pid === undefined) throw new Failure('SYSTEM', `cannot start a file system server (${options.program.node})`);
    return new StandbyProcess(child, child.pid, options);
  }

  get version(): string | null {
    return this.#version;
  }

  async #greet(): Promise<Hello> {
    const said = await this.#channel.call('hello', { protocol: PROTOCOL, version: VERSION }, WARM_TIMEOUT_MS).catch((error: unknown) => {
      // A program from before there was this word.
      if (Failure.from(error).code === 'UNIMPLEMENTED') return null;
      throw error;
    });
    const hello = checkHello(said, 'file system server', 'keeper');
    this.#version = hello.version;
    return hello;
  }

  /** Leaves it to itself, as this keeper's end would: a standby then guards the mounts that it holds. */
  letGo(): void {
    this.#channel.close();
  }

  /**
   * Gives it what it needs to serve a mount: /dev/fuse, and descriptors that are opened for it alone (the envelope, then
   * devices). Resolves when they are on their way, which keeps the mount even if this process dies.
   */
  announce(announced: Announced, fuseFd: number, openers: ReadonlyArray<() => number>): Promise<void> {
    return this.#inOrder(async () => {
      const own: number[] = [];
      try {
        for (const open of openers) own.push(open());
        const giveUpAt = Date.now() + SEND_TIMEOUT_MS;
        while (!this.#over && !this.#sockets.send(this.#socket, Buffer.from(announced.id, 'latin1'), [fuseFd, ...own])) {
          if (Date.now() > giveUpAt) throw new Failure('DEADLINE_EXCEEDED', `process ${this.identity.pid} takes no descriptors`);
          await new Promise((resolve) => setTimeout(resolve, SEND_AGAIN_MS));
        }
      } finally {
        for (const fd of own) fs.closeSync(fd);
      }
      this.#channel.say('announce', announced);
    });
  }

  update(announced: Pick<Announced, 'id' | 'negotiated' | 'server'>): void {
    void this.#inOrder(() => this.#channel.say('update', { id: announced.id, negotiated: announced.negotiated, server: announced.server })).catch(() => undefined);
  }

  forget(id: string): void {
    void this.#inOrder(() => this.#channel.say('forget', { id })).catch(() => undefined);
  }

  /** Has its workers rehearse; resolves when they are at their best, and it holds what had been announced to it. */
  async warm(timeoutMs: number = WARM_TIMEOUT_MS): Promise<void> {
    await this.#sending;
    await this.#channel.call('warm', {}, timeoutMs);
  }

  /**
   * Makes it the server of a mount; it serves at once when the kernel was spoken to before. Rejects with its reason.
   * `told` is called when the word is on its way.
   */
  async become(id: string, resend: boolean, timeoutMs: number, told: () => void = () => undefined): Promise<void> {
    // Known of every spare that is warm; nothing may be said of mounts to one that would not understand it.
    if (this.#version === null) await this.hello;
    let served: Promise<unknown> | null = null;
    await this.#inOrder(() => {
      served = this.#channel.call('become', { id, resend }, timeoutMs);
      served.catch(() => undefined);
      told();
    });
    await served;
  }

  /** Lets the server of a mount that was made now read requests. */
  async serve(negotiated: Negotiated): Promise<void> {
    await this.#channel.call('serve', { negotiated, resend: false });
  }

  async ping(timeoutMs: number): Promise<Progress> {
    return progressShape.parse(await this.#channel.call('ping', {}, timeoutMs));
  }

  #inOrder(step: () => Promise<void> | void): Promise<void> {
    const next = this.#sending.then(step);
    this.#sending = next.catch(() => undefined);
    return next;
  }
}
