/**
 * Which of our processes are there, by what they hold: the keeper's lock, the lock on a mount's index list (who holds it
 * answers the kernel), descriptors of /dev/fuse (who holds one keeps the mount alive). Looked up in /proc alone, since a
 * command that asked would start what is missing.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';

const SIGKILL_BIT = 1n << 8n;

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** What a process has open, as /proc names it; one that is closed meanwhile is ''. */
export function openFiles(pid: number): string[] {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return '';
      }
    });
  } catch {
    return [];
  }
}

/** False also for one that has ended and is not yet waited for. */
export function isAlive(pid: number): boolean {
  const state = read(`/proc/${pid}/stat`).split(') ').pop()?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** SIGKILL is on its way to it. */
function isDying(pid: number): boolean {
  const pending = [...read(`/proc/${pid}/status`).matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)].map(([, mask]) => BigInt(`0x${mask}`));
  return pending.some((mask) => (mask & SIGKILL_BIT) !== 0n);
}

/** The process that has the exclusive flock on a file. */
export function lockHolder(file: string): number | null {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  const hex = (number: number): string => number.toString(16).padStart(2, '0');
  const place = `${hex((stat.dev >> 8) & 0xfff)}:${hex((stat.dev & 0xff) | ((stat.dev >> 12) & 0xfff00))}:${stat.ino}`;
  for (const line of read('/proc/locks').split('\n')) {
    const [, type, , mode, pid, at] = line.split(/\s+/);
    if (type === 'FLOCK' && mode === 'WRITE' && at === place) return Number(pid);
  }
  return null;
}

export class OurProcesses {
  constructor(readonly runDir: string) {}

  /** Folders of the mounts, oldest first. */
  mountDirs(): string[] {
    const dir = path.join(this.runDir, 'mounts');
    return fs.existsSync(dir) ? fs.readdirSync(dir).map((name) => path.join(dir, name)) : [];
  }

  keeper(): number | null {
    return lockHolder(path.join(this.runDir, 'keeper.lock'));
  }

  /** Who answers the kernel. */
  serving(): number | null {
    const [dir] = this.mountDirs();
    return dir === undefined ? null : lockHolder(path.join(dir, 'index'));
  }

  /** Keeper, servers and spares, those too that have just been started and are about to be given the descriptors. */
  all(): number[] {
    const keeper = this.keeper();
    const started = keeper === null ? [] : read(`/proc/${keeper}/task/${keeper}/children`).split(' ').filter(Boolean).map(Number);
    return [...new Set([...(keeper === null ? [] : [keeper]), ...started, ...this.holders()])];
  }

  /**
   * A copy of the keeper that has not become its new child yet: it has all of the keeper's descriptors, for a millisecond,
   * and takes nothing over.
   */
  #isKeeperForked(pid: number): boolean {
    return pid !== this.keeper() && read(`/proc/${pid}/cmdline`).split('\0').includes('keeper');
  }

  /** Every process that has a descriptor of /dev/fuse and something of this run_dir open. */
  holders(): number[] {
    return fs
      .readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .map(Number)
      .filter((pid) => {
        const links = openFiles(pid);
        return links.includes('/dev/fuse') && links.some((link) => link.startsWith(`${this.runDir}/`)) && !isDying(pid) && !this.#isKeeperForked(pid);
      });
  }
}
