/** The agent's process: whose socket answers, in which namespaces it is, what it was started with. Linux' /proc, root only. */
import * as fs from 'node:fs';
import { parseMountinfo } from '../../native/mountinfo';
import type { MountEntry } from '../../native/mountinfo';

const LISTEN = '0A';
const DESCRIPTORS_MAX = 100_000;

/** Process that listens on this TCP port here; undefined when none can be found. */
export function listenerOf(port: number, proc = '/proc'): number | undefined {
  const inodes = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    let text: string;
    try {
      text = fs.readFileSync(`${proc}/net/${table}`, 'latin1');
    } catch {
      continue;
    }
    for (const line of text.split('\n').slice(1)) {
      const [, local = '', , state = '', , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === LISTEN && Number.parseInt(local.split(':')[1] ?? '', 16) === port) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  let seen = 0;
  for (const pid of fs.readdirSync(proc).filter((name) => /^[0-9]+$/.test(name))) {
    try {
      for (const fd of fs.readdirSync(`${proc}/${pid}/fd`)) {
        if ((seen += 1) > DESCRIPTORS_MAX) return undefined;
        if (inodes.has(linkOf(`${proc}/${pid}/fd/${fd}`) ?? '')) return Number(pid);
      }
    } catch {
      // It has ended meanwhile, or may not be looked at.
    }
  }
  return undefined;
}

function linkOf(file: string): string | undefined {
  try {
    return fs.readlinkSync(file);
  } catch {
    return undefined;
  }
}

/** `mnt:[4026531841]`, undefined when it cannot be seen. */
export function namespaceOf(pid: number | 'self', kind: 'mnt' | 'net', proc = '/proc'): string | undefined {
  return linkOf(`${proc}/${pid}/ns/${kind}`);
}

/** The table of mounts as that process sees it; undefined when it cannot be read. */
export function mountsOf(pid: number, proc = '/proc'): MountEntry[] | undefined {
  try {
    return parseMountinfo(fs.readFileSync(`${proc}/${pid}/mountinfo`));
  } catch {
    return undefined;
  }
}

/** What it was started with; undefined when it cannot be read. */
export function environmentOf(pid: number, proc = '/proc'): ReadonlyMap<string, string> | undefined {
  try {
    const text = fs.readFileSync(`${proc}/${pid}/environ`, 'utf8');
    return new Map(text.split('\0').flatMap((entry): Array<[string, string]> => (entry.includes('=') ? [[entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]] : [])));
  } catch {
    return undefined;
  }
}
