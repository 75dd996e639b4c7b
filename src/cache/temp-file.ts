/**
 * Temp files in `<dir>/txn`, on the same file system as the objects so that a rename publishes them:
 *
 *     4711-88123-0-17      pid, start time of that process (/proc/<pid>/stat, field 22), thread, counter
 *
 * The name tells whose it is: whatever belongs to a process that lives no more is litter of a crash. The start time is
 * there because pids come again, and a server that is the same pid in the next boot must not keep its predecessor's.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { threadId } from 'node:worker_threads';

const FLAGS = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW;
const PATTERN = /^([1-9][0-9]{0,9})-([0-9]{1,20})-[0-9]{1,10}-[0-9]{1,16}$/;

export interface TempFile {
  readonly fd: number;
  readonly path: string;
}

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process, as text. */
  readonly start: string;
}

/** Start time of a process, null when there is no such process. */
export function startOf(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name in parentheses, which may hold blanks and parentheses itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

export function selfIdentity(): ProcessIdentity {
  return { pid: process.pid, start: startOf(process.pid) ?? '0' };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return startOf(identity.pid) === identity.start;
}

/** Makes temp files; one per thread. */
export class TempFiles {
  private counter = 0;
  private readonly prefix: string;

  constructor(private readonly folder: string) {
    const self = selfIdentity();
    this.prefix = `${self.pid}-${self.start}-${threadId}`;
  }

  /** A new empty file, mode 0600, open for reading and writing. */
  create(): TempFile {
    for (;;) {
      const file = `${this.folder}/${this.prefix}-${this.counter++}`;
      try {
        return { fd: fs.openSync(file, FLAGS, 0o600), path: file };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  }
}

/** Names of temp files whose process is dead, and of whatever else lies there. */
export function staleTempFiles(folder: string): string[] {
  const alive = new Map<string, boolean>();
  return fs.readdirSync(folder).filter((name) => {
    const match = PATTERN.exec(name);
    if (match === null) return true;
    const key = `${match[1]}-${match[2]}`;
    if (!alive.has(key)) alive.set(key, isAlive({ pid: Number(match[1]), start: match[2]! }));
    return alive.get(key) === false;
  });
}

/** Removes them; answers how many. */
export function removeStaleTempFiles(folder: string): number {
  const stale = staleTempFiles(folder);
  for (const name of stale) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
  return stale.length;
}
