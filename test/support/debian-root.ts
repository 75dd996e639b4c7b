/**
 * A minimal Debian in a folder, with mount and pid namespaces of its own: what is mounted or started in it ends with it, in
 * every outcome. It has the host's network. Made once with mmdebstrap, which needs the network, and kept beside the packages.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { readMountinfo } from '../../src/native/mountinfo';
import { until } from './shell';
import type { Ran } from './test-host';

const CACHE = path.resolve(__dirname, '../../node_modules/.cache/mesos-cvmfs-test');
/** The first process of the namespace: it gathers whoever is left to it, and does nothing else. */
const FIRST = 'import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()';
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

/** Where control groups of version 2 are, and this process' own below it; undefined where there are none. */
function controlGroup(): string | undefined {
  const mounted = readMountinfo().find(({ type }) => type === 'cgroup2')?.mountpoint.toString();
  const own = /^0::(.*)$/m.exec(fs.readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  return mounted === undefined || own === undefined ? undefined : path.join(mounted, own);
}

/** What is missing to have systemd run in one. */
export function whyNoSystemd(): string | undefined {
  return whyNoDebianRoot() ?? (controlGroup() === undefined ? 'control groups of version 2' : undefined);
}

/** An archive of a minimal Debian of the host's own release, so that what is compiled here runs there. Made when it is absent. */
export function debianArchive(systemd: boolean): string {
  const suite = /^VERSION_CODENAME=(.*)$/m.exec(fs.readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'bookworm';
  const file = path.join(CACHE, `${suite}${systemd ? '-systemd' : ''}.tar`);
  if (!fs.existsSync(file)) {
    fs.mkdirSync(CACHE, { recursive: true });
    const unfinished = `${file}.${process.pid}.tar`;
    execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', `--include=passwd${systemd ? ',systemd' : ''}`, suite, unfinished], { timeout: 170_000, stdio: ['ignore', 'ignore', 'inherit'] });
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
  /** Of systemd, below this process' own. */
  #controlGroup: string | undefined;

  /** `systemd`: it is the first process, and manages what is in there. */
  static async create(options: { readonly systemd?: boolean } = {}): Promise<DebianRoot> {
    const debian = new DebianRoot();
    try {
      await debian.#start(options.systemd === true);
    } catch (error) {
      await debian.end();
      throw error;
    }
    return debian;
  }

  async #start(systemd: boolean): Promise<void> {
    fs.chmodSync(this.dir, 0o755);
    fs.mkdirSync(this.root);
    execFileSync('tar', ['-xf', debianArchive(systemd), '-C', this.root, '--exclude=./dev/*'], { timeout: 60_000 });
    const mounts = [
      `mount --bind ${this.root} ${this.root}`,
      `mount -t proc proc ${this.root}/proc`,
      // What systemd would set there is the whole machine's.
      `mount --bind ${this.root}/proc/sys ${this.root}/proc/sys`,
      `mount -o remount,ro,bind ${this.root}/proc/sys`,
      `mount -t sysfs -o ro sysfs ${this.root}/sys`,
      `mount -t tmpfs -o mode=755 tmpfs ${this.root}/dev`,
      ...DEVICES.map((device) => `touch ${this.root}/dev/${device} && mount --bind /dev/${device} ${this.root}/dev/${device}`),
      `ln -s /proc/self/fd ${this.root}/dev/fd`,
      `mkdir ${this.root}/dev/shm ${this.root}/dev/pts`,
      `mount -t tmpfs -o mode=755 tmpfs ${this.root}/run`,
      ...(systemd ? [`mount -t cgroup2 cgroup2 ${this.root}/sys/fs/cgroup`, `mount --make-rshared ${this.root}`] : []),
    ];
    const first = systemd ? `env -i container=other PATH=/usr/sbin:/usr/bin chroot ${this.root} /lib/systemd/systemd --system --show-status=no` : `python3 -c '${FIRST}'`;
    const boot = path.join(this.dir, 'boot');
    fs.writeFileSync(boot, ['exec 2>&1', ...mounts, 'echo up', `exec ${first}`].join('\n'));
    const enter = systemd ? `echo $$ > ${this.#makeControlGroup()}/cgroup.procs;` : '';
    this.#holder = spawn('sh', ['-ec', `${enter} exec unshare --mount --propagation private --pid --uts --ipc ${systemd ? '--cgroup' : ''} --fork --kill-child sh -e ${boot}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    const holder = this.#holder.pid!;
    const said = String((await Promise.race([once(this.#holder.stdout!, 'data'), once(this.#holder, 'exit')]))[0]);
    if (said !== 'up\n') throw new Error(`the Debian was not put together: ${said}`);
    this.#holder.stdout!.resume();
    this.#pid = Number(fs.readFileSync(`/proc/${holder}/task/${holder}/children`, 'utf8').trim());
    if (systemd) await until('systemd is up', async () => /^(running|degraded)/.test((await this.run('systemctl', ['is-system-running'])).stdout), 60_000);
  }

  #makeControlGroup(): string {
    this.#controlGroup = path.join(controlGroup()!, path.basename(this.dir));
    fs.mkdirSync(this.#controlGroup);
    return this.#controlGroup;
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
    if (this.#controlGroup !== undefined) execFileSync('find', [this.#controlGroup, '-depth', '-type', 'd', '-delete'], { stdio: 'ignore' });
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
