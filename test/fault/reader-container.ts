/**
 * A container whose processes are the verifying readers: under runc where that can run here, else in namespaces of
 * `unshare` with a chroot. Its root file system is what Provision answered with; nothing of ours knows that it runs.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { FaultImage } from './fault-image';

export type Runtime = 'runc' | 'unshare';
export type RootfsKind = 'overlay' | 'bind';

export interface ReaderOptions {
  readonly name: string;
  readonly rootfs: string;
  readonly kind: RootfsKind;
  readonly seed: number;
  readonly revision: number;
  readonly mixers: number;
  readonly probes: number;
  readonly image: FaultImage;
  /** Of the suite: bundles and runc's state lie in it. */
  readonly dir: string;
  readonly onLine: (line: string) => void;
}

/** A read that takes this long has failed, so readers that were told to stop have ended some time after. */
const STOP_MS = 75_000;
const ENV = ['PATH=/usr/bin:/bin', 'PYTHONDONTWRITEBYTECODE=1', 'PYTHONUNBUFFERED=1', 'HOME=/tmp', 'LANG=C.UTF-8'];
const HOST_ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };

function bundle(args: readonly string[], rootfs: string, readonly: boolean, image: FaultImage): object {
  const bind = (source: string, destination: string): object => ({ destination, type: 'bind', source, options: ['bind', 'ro', 'private'] });
  return {
    ociVersion: '1.0.2',
    process: { terminal: false, cwd: '/', user: { uid: 0, gid: 0 }, args, env: ENV, noNewPrivileges: true, capabilities: { bounding: ['CAP_DAC_OVERRIDE'], effective: ['CAP_DAC_OVERRIDE'], permitted: ['CAP_DAC_OVERRIDE'] } },
    root: { path: rootfs, readonly },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'size=16m'] },
      bind(image.known, '/known'),
      bind(image.tree, '/known/tree'),
    ],
    linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
  };
}

const UNSHARED = `set -e
mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/tmp"; mount --bind "$2" "$1/known"; mount --bind "$3" "$1/known/tree"
root=$1; shift 3; exec chroot "$root" "$@"`;

export class ReaderContainer {
  readonly #options: ReaderOptions;
  readonly #runtime: Runtime;
  readonly #id: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #complaint = '';
  #stopping = false;

  private constructor(options: ReaderOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
    const { name, rootfs, kind, seed, revision, mixers, probes, image, dir } = options;
    this.#id = `${path.basename(dir)}-${name}`;
    const args = [image.python, '-S', '/reader.py', name, String(seed), String(revision), kind, String(mixers), String(probes)];
    if (runtime === 'runc') {
      const at = path.join(dir, 'bundles', name);
      fs.mkdirSync(at, { recursive: true });
      fs.writeFileSync(path.join(at, 'config.json'), JSON.stringify(bundle(args, rootfs, kind === 'bind', image)));
      this.#child = spawn('runc', ['--root', path.join(dir, 'runc'), 'run', '--bundle', at, this.#id], { cwd: '/', env: HOST_ENV, detached: true, stdio: 'pipe' });
    } else {
      const env = Object.fromEntries(ENV.map((text) => text.split('=') as [string, string]));
      this.#child = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'slave', 'sh', '-c', UNSHARED, 'sh', rootfs, image.known, image.tree, ...args], { cwd: '/', env: { ...env, PATH: `${HOST_ENV.PATH}:/usr/bin:/bin` }, detached: true, stdio: 'pipe' });
    }
    let rest = '';
    this.#child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) options.onLine(line);
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (this.#complaint = (this.#complaint + chunk).slice(-2_000)));
    this.#child.stdin!.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#complaint += error.message;
        resolve();
      });
      this.#child.on('close', () => resolve());
    });
    void this.#ended.then(() => {
      if (!this.#stopping) options.onLine(`E ${name} container 0 0 ended by itself: ${this.#complaint.trim() || this.#child.exitCode}`);
    });
  }

  static start(options: ReaderOptions, runtime: Runtime): ReaderContainer {
    return new ReaderContainer(options, runtime);
  }

  get revision(): number {
    return this.#options.revision;
  }

  /** Lets the readers end by themselves; one that does not hangs, which is said. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.stdin!.end();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), STOP_MS)));
    const which = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    if (which === 'late') this.#options.onLine(`E ${this.#options.name} container 0 0 its readers do not end\n${this.#hanging()}`);
    await this.kill();
  }

  /** Ends it now, whatever its state. */
  async kill(): Promise<void> {
    this.#stopping = true;
    this.#child.stdin!.destroy();
    if (this.#runtime === 'runc') spawnSync('runc', ['--root', path.join(this.#options.dir, 'runc'), 'delete', '--force', this.#id], { env: HOST_ENV, timeout: 20_000 });
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    // A reader that hangs in the kernel holds the pipe open: nobody waits for it for ever.
    await Promise.race([this.#ended, new Promise((resolve) => setTimeout(resolve, 5_000).unref())]);
  }

  /** Where in the kernel its processes are: what is looked at first when something hangs. */
  #hanging(): string {
    const found = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && text(`/proc/${pid}/cmdline`).includes(`reader.py\0${this.#options.name}\0`));
    return found.map((pid) => `${pid} ${text(`/proc/${pid}/syscall`).trim()}\n${text(`/proc/${pid}/stack`)}`).join('\n');
  }
}

function text(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** Whether runc can run a container on this host, found by running one: some hosts, themselves containers, forbid it. */
export function chooseRuntime(dir: string, image: FaultImage): Runtime {
  const at = path.join(dir, 'bundles', 'try');
  fs.mkdirSync(at, { recursive: true });
  fs.writeFileSync(path.join(at, 'config.json'), JSON.stringify(bundle(['/bin/true'], image.tree, true, image)));
  const id = `${path.basename(dir)}-try`;
  const { status } = spawnSync('runc', ['--root', path.join(dir, 'runc'), 'run', '--bundle', at, id], { env: HOST_ENV, timeout: 30_000, stdio: 'ignore' });
  if (status !== 0) spawnSync('runc', ['--root', path.join(dir, 'runc'), 'delete', '--force', id], { env: HOST_ENV, stdio: 'ignore' });
  return status === 0 ? 'runc' : 'unshare';
}
