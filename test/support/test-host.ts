/**
 * One host of a test's own: a temporary folder with run_dir, cache and mount points, the built command line, and an end
 * that leaves nothing behind in any outcome. Everything it starts is ended by its process id.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MountedClient } from '../../src/fuse/control/mounted-client';
import type { MountInfo } from '../../src/fuse/keeper/keeper';
import { readMountinfo } from '../../src/native/mountinfo';

const END_ROUNDS = 250;
const END_ROUND_MS = 20;

const BIN = path.resolve(__dirname, '../../bin/mesos-cvmfs');

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface MountOptions {
  readonly fqrn: string;
  readonly servers: readonly string[];
  readonly publicKey: string;
  readonly name?: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** False: answers and failures as people get them. */
  readonly json?: boolean;
}

/** True when this process may mount FUSE; tests that must are skipped elsewhere with a clear word. */
export function canMount(): boolean {
  return process.getuid?.() === 0 && fs.existsSync('/dev/fuse') && fs.existsSync(path.resolve(__dirname, '../../dist/src/cli/main.js'));
}

/** `describe`, or a skipped block whose name says what is lacking. */
export function describeWithMounts(name: string, body: () => void): void {
  if (canMount()) describe(name, body);
  else describe.skip(`${name} (needs root, /dev/fuse and a build: make build)`, () => it('needs them', () => undefined));
}

export class TestHost {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-test-'));
  readonly runDir: string;
  readonly cacheDir = path.join(this.dir, 'cache');
  readonly #children: ChildProcess[] = [];

  /** `runDir`: name of the run_dir in this host's folder. */
  constructor(options: { readonly runDir?: string } = {}) {
    this.runDir = path.join(this.dir, options.runDir ?? 'run');
  }

  /** Runs the command line to its end. */
  run(args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number; readonly input?: string; readonly bin?: string } = {}): Promise<Ran> {
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [options.bin ?? BIN, ...args, '--run-dir', this.runDir],
        { env: { ...process.env, ...options.env }, timeout: options.timeoutMs ?? 60_000, killSignal: 'SIGKILL', maxBuffer: 64 << 20 },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, stdout, stderr }),
      );
      child.stdin?.end(options.input ?? '');
    });
  }

  /** The same, failing the test unless it exits with 0. */
  async ok(args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number } = {}): Promise<string> {
    const ran = await this.run(args, options);
    if (ran.code !== 0) throw new Error(`mesos-cvmfs ${args.join(' ')} exited with ${ran.code}: ${ran.stderr}`);
    return ran.stdout;
  }

  /** Mounts below this host's folder and answers what the keeper says of it. */
  async mount(options: MountOptions): Promise<MountInfo> {
    const ran = await this.tryMount(options);
    if (ran.code !== 0) throw new Error(`mount of ${options.fqrn} exited with ${ran.code}: ${ran.stderr}`);
    return JSON.parse(ran.stdout) as MountInfo;
  }

  tryMount(options: MountOptions): Promise<Ran> {
    const dir = path.join(this.dir, options.name ?? 'mnt');
    const servers = options.servers.flatMap((server) => ['--server', server]);
    return this.run(['mount', options.fqrn, dir, ...servers, '--public-key', options.publicKey, '--cache-dir', this.cacheDir, ...(options.json === false ? [] : ['--json']), ...(options.args ?? [])], { ...(options.env === undefined ? {} : { env: options.env }) });
  }

  umount(mountpoint: string, ...args: string[]): Promise<Ran> {
    return this.run(['umount', mountpoint, ...args]);
  }

  client(info: MountInfo): MountedClient {
    return new MountedClient(info);
  }

  async status(): Promise<{ mounts: Array<{ repository: string; mountpoint: string; revision: number; root_hash: string; server_pid: number; keeper_pid: number }>; warnings: string[] }> {
    return JSON.parse(await this.ok(['status', '--json']));
  }

  /** Starts a process that this host ends. */
  start(command: string, args: readonly string[], options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {}): ChildProcess {
    const child = spawn(command, [...args], { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#children.push(child);
    return child;
  }

  /** Starts the command line, to be ended by a signal or by this host. */
  startCommand(args: readonly string[]): ChildProcess {
    const child = this.start(process.execPath, [BIN, ...args, '--run-dir', this.runDir]);
    child.stdout!.resume();
    child.stderr!.resume();
    return child;
  }

  /** Runs a program that looks at a mount, in a process of its own that is killed when it takes too long. */
  async outside(command: string, args: readonly string[], options: { readonly timeoutMs?: number; readonly cwd?: string; readonly input?: string } = {}): Promise<Ran> {
    return new Promise((resolve) => {
      const child = execFile(command, [...args], { timeout: options.timeoutMs ?? 60_000, killSignal: 'SIGKILL', maxBuffer: 256 << 20, ...(options.cwd === undefined ? {} : { cwd: options.cwd }) }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, stdout, stderr }),
      );
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(options.input ?? '');
    });
  }

  /** Ends everything: children, mounts below the folder, keeper and servers, the folder. Never throws for what is gone. */
  async end(): Promise<void> {
    for (const child of this.#children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    for (const target of this.mountsBelow().reverse()) {
      try {
        execFileSync('umount', ['-l', target], { timeout: 10_000, stdio: 'ignore' });
      } catch {
        // Gone already, with the mount above it.
      }
    }
    // Again until there is none: a keeper may have started a server in the moment in which it was looked for.
    for (let left = this.#pids(), rounds = 0; left.length > 0 && rounds < END_ROUNDS; left = this.#pids(), rounds++) {
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Ended by itself.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, END_ROUND_MS));
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  mountsBelow(): string[] {
    return readMountinfo()
      .map((entry) => entry.mountpoint.toString())
      .filter((target) => target.startsWith(`${this.dir}/`));
  }

  /** Process ids of this host's file system servers, also of one whose mount has been forgotten. */
  servers(): number[] {
    return pids().filter((pid) => {
      try {
        // The mount's index list (src/fuse/server/envelope.ts).
        return fs.readlinkSync(`/proc/${pid}/fd/5`).startsWith(`${this.runDir}/mounts/`);
      } catch {
        return false;
      }
    });
  }

  /** Processes of this host: keepers and commands, by their command line, and servers. */
  #pids(): number[] {
    const commands = pids().filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(this.runDir);
      } catch {
        return false;
      }
    });
    return [...commands, ...this.servers()];
  }
}

/** Every process but this one. */
function pids(): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number);
}
