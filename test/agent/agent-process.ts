/** An agent's process in the hands of a test: started, called, killed at a step, started again on the same folders. */
import { fork, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { readMountinfo } from '../../src/native/mountinfo';
import { typescriptExecArgv } from '../support/typescript-process';
import { listContainers } from './container-id';
import type { Launch } from './containerizer';
import type { Flags } from './flags';
import type { Call, FromAgent, ToAgent } from './messages';
import type { Step } from './steps';

export interface Finished {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** The folders of one host's agent; they outlive its processes. */
export class AgentHost {
  readonly flags: Flags;
  #process: ChildProcess | null = null;
  #said = '';
  #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #number = 0;
  #paused: (step: Step) => void = () => undefined;
  #gone: Promise<string> = Promise.resolve('never started');

  /** All of it lies below `dir`, the temporary folder of its overlay links too. */
  constructor(
    readonly dir: string,
    flags: Partial<Flags> = {},
  ) {
    this.flags = {
      work_dir: path.join(dir, 'work'),
      runtime_dir: path.join(dir, 'runtime'),
      docker_store_dir: path.join(dir, 'store'),
      docker_registry: 'http://127.0.0.1:1',
      sandbox_directory: '/mnt/mesos/sandbox',
      fetcher_stall_timeout: '60',
      executor_registration_timeout: '60',
      ...flags,
    };
    for (const at of [dir, path.join(dir, 'tmp')]) fs.mkdirSync(at, { recursive: true });
  }

  /** Rejects with what it said when it does not come up, as with a recovery that fails. */
  async start(more: Partial<Flags> = {}): Promise<void> {
    const args = Object.entries({ ...this.flags, ...more }).map(([name, value]) => `--${name}=${value}`);
    const child = fork(path.join(__dirname, 'main.ts'), args, { execArgv: [...typescriptExecArgv], stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, TMPDIR: path.join(this.dir, 'tmp') } });
    this.#process = child;
    this.#said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    this.#gone = new Promise((resolve) =>
      child.once('close', (code, signal) => {
        const how = `the agent ended with ${signal ?? code}: ${this.#said}`;
        for (const { reject } of this.#calls.values()) reject(new Error(how));
        this.#calls.clear();
        resolve(how);
      }),
    );
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: FromAgent) => {
        if ('started' in message) resolve();
        else if ('paused' in message) this.#paused(message.paused);
        else this.#answered(message);
      });
      void this.#gone.then((how) => reject(new Error(how)));
    });
  }

  launch(launch: Launch): Promise<void> {
    return this.#call({ kind: 'launch', launch }) as Promise<void>;
  }

  destroy(id: string): Promise<void> {
    return this.#call({ kind: 'destroy', id }) as Promise<void>;
  }

  prune(...excluded: string[]): Promise<void> {
    return this.#call({ kind: 'prune', excluded }) as Promise<void>;
  }

  state(): Promise<{ containers: string[]; images: string[] }> {
    return this.#call({ kind: 'state' }) as Promise<{ containers: string[]; images: string[] }>;
  }

  /** Waits for the end of a container's program; what it wrote is in its sandbox. */
  async finished(id: string): Promise<Finished> {
    const status = (await this.#call({ kind: 'wait', id })) as number | undefined;
    return { status, ...this.output(id) };
  }

  /** Launches and waits. */
  async run(launch: Launch): Promise<Finished> {
    await this.launch(launch);
    return this.finished(launch.id);
  }

  output(id: string): { stdout: string; stderr: string } {
    const read = (name: string): string => fs.readFileSync(path.join(this.sandbox(id), name), 'utf8');
    return { stdout: read('stdout'), stderr: read('stderr') };
  }

  sandbox(id: string): string {
    return path.join(this.flags.work_dir, ...id.split('/').flatMap((name) => ['containers', name]));
  }

  /** The next time that it comes to the step it kills itself. */
  killAt(step: Step): void {
    this.#send({ arm: { step, how: 'kill' } });
  }

  /** Resolves when it has come to the step, where it waits for `goOn`. */
  pauseAt(step: Step): Promise<void> {
    const paused = new Promise<void>((resolve, reject) => {
      this.#paused = (at) => (at === step ? resolve() : reject(new Error(`it paused at ${at}`)));
    });
    this.#send({ arm: { step, how: 'pause' } });
    return paused;
  }

  goOn(): void {
    this.#send({ go: true });
  }

  /** What it wrote on standard error: warnings, and why it ended. */
  get said(): string {
    return this.#said;
  }

  /** How its process ended. */
  get gone(): Promise<string> {
    return this.#gone;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#process?.kill(signal);
    await this.#gone;
  }

  /** Mount points of root file systems. */
  rootfses(): string[] {
    return this.#mounts().filter((at) => at.includes('/rootfses/'));
  }

  /** Ids of containers that the provisioner has a folder of. */
  provisioned(): string[] {
    return listContainers(path.join(this.flags.work_dir, 'provisioner'));
  }

  /** Kills agent and containers, takes every mount away, leaves the files: what a power failure leaves. */
  async powerOff(): Promise<void> {
    await this.kill();
    for (const pid of containerProcesses(this.dir)) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // Ended in this moment.
      }
    }
    for (const at of this.#mounts().reverse()) spawnSync('umount', ['-l', at], { timeout: 10_000 });
    // /var/run/mesos is in memory.
    fs.rmSync(this.flags.runtime_dir, { recursive: true, force: true });
  }

  #mounts(): string[] {
    return readMountinfo().map(({ mountpoint }) => mountpoint.toString()).filter((at) => at.startsWith(`${this.dir}/`));
  }

  #call(call: Call): Promise<unknown> {
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#calls.set(number, { resolve, reject });
      // To a process that has ended, its last calls answered, nothing can be sent.
      this.#process!.send({ number, call } satisfies ToAgent, (error) => void (error === null ? undefined : this.#gone.then((how) => reject(new Error(how)))));
    });
  }

  #send(message: ToAgent): void {
    this.#process!.send(message, () => undefined);
  }

  #answered(message: Extract<FromAgent, { number: number }>): void {
    const call = this.#calls.get(message.number);
    this.#calls.delete(message.number);
    if (message.error === undefined) call?.resolve(message.value);
    else call?.reject(new Error(message.error));
  }
}

/** Process ids of the helpers of containers whose files lie below a folder. */
function containerProcesses(dir: string): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
        return words[1]?.endsWith('launch.py') === true && words[2]?.startsWith(`${dir}/`) === true;
      } catch {
        return false;
      }
    });
}
