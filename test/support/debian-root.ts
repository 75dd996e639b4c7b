/**
 * A minimal Debian in a folder, with mount and pid namespaces of its own: what is mounted or started in it ends with it, in
 * every outcome. It has the host's network. Made once with mmdebstrap, which needs the network, and kept beside the packages.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { until } from './shell';
import type { Ran } from './test-host';

const CACHE = path.resolve(__dirname, '../../node_modules/.cache/mesos-cvmfs-test');
/** The first process of the namespace: it gathers whoever is left to it, and does nothing else. */
const FIRST = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: signal.pause()";
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'fuse'];

const has = (command: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** What is missing to make one; undefined when nothing is. */
export function whyNoDebianRoot(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  return ['mmdebstrap', 'dpkg-deb', 'unshare', 'nsenter', 'strip'].find((command) => !has(command));
}

/** An archive of a minimal Debian of the host's own release, so that what is compiled here runs there. */
function archive(): string {
  const suite = /^VERSION_CODENAME=(.*)$/m.exec(fs.readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'bookworm';
  const file = path.join(CACHE, `${suite}.tar`);
  if (!fs.existsSync(file)) {
    fs.mkdirSync(CACHE, { recursive: true });
    const unfinished = `${file}.${process.pid}.tar`;
    execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', '--include=passwd', suite, unfinished], { timeout: 170_000, stdio: ['ignore', 'ignore', 'inherit'] });
    fs.renameSync(unfinished, file);
  }
  return file;
}

export class DebianRoot {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-debian-'));
  readonly root = path.join(this.dir, 'root');
  #holder: ChildProcess | undefined;
  /** Of the namespaces' first process. */
  #pid = 0;

  static async create(): Promise<DebianRoot> {
    const debian = new DebianRoot();
    try {
      await debian.#start();
    } catch (error) {
      await debian.end();
      throw error;
    }
    return debian;
  }

  async #start(): Promise<void> {
    fs.chmodSync(this.dir, 0o755);
    fs.mkdirSync(this.root);
    execFileSync('tar', ['-xf', archive(), '-C', this.root, '--exclude=./dev/*'], { timeout: 60_000 });
    this.#holder = spawn('unshare', ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', 'python3', '-c', FIRST], { stdio: ['ignore', 'pipe', 'ignore'] });
    const holder = this.#holder.pid!;
    await new Promise((resolve) => this.#holder!.stdout!.once('data', resolve));
    await until('the namespaces are there', () => {
      this.#pid = Number(fs.readFileSync(`/proc/${holder}/task/${holder}/children`, 'utf8').trim());
      return this.#pid > 0;
    });
    const mounts = [
      `mount --bind ${this.root} ${this.root}`,
      `mount -t proc proc ${this.root}/proc`,
      `mount --rbind /sys ${this.root}/sys`,
      `mount -t tmpfs -o mode=755 tmpfs ${this.root}/dev`,
      ...DEVICES.map((device) => `touch ${this.root}/dev/${device} && mount --bind /dev/${device} ${this.root}/dev/${device}`),
      `ln -s /proc/self/fd ${this.root}/dev/fd`,
      `mount -t tmpfs -o mode=755 tmpfs ${this.root}/run`,
    ];
    const made = await this.outside('sh', ['-ec', mounts.join('\n')]);
    if (made.code !== 0) throw new Error(`the Debian was not put together: ${made.stderr}`);
  }

  /** Runs a command in the Debian, as its root. */
  run(command: string, args: readonly string[], options: { readonly timeoutMs?: number } = {}): Promise<Ran> {
    return this.outside('chroot', [this.root, '/usr/bin/env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive', command, ...args], options);
  }

  /** Runs a command of this host that sees the Debian's mounts, below `root`, and its processes. */
  outside(command: string, args: readonly string[], options: { readonly timeoutMs?: number } = {}): Promise<Ran> {
    return new Promise((resolve) => {
      execFile('nsenter', ['--target', String(this.#pid), '--mount', '--pid', '--', command, ...args], { timeout: options.timeoutMs ?? 60_000, killSignal: 'SIGKILL', maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, stdout, stderr }),
      );
    });
  }

  /** With the first process everything in the namespaces ends. */
  async end(): Promise<void> {
    const holder = this.#holder;
    if (holder !== undefined && holder.exitCode === null && holder.signalCode === null) {
      const ended = new Promise((resolve) => holder.once('exit', resolve));
      if (this.#pid > 0) process.kill(this.#pid, 'SIGKILL');
      else holder.kill('SIGKILL');
      await ended;
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
