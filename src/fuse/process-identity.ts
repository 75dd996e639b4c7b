/** Who a process is, beyond its number: numbers are used again. */
import * as fs from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of /proc/<pid>/stat. */
  readonly startTicks: number;
}

/** The fields of a `stat` file of /proc from the state (3) on. */
function fields(file: string): string[] | undefined {
  try {
    const stat = fs.readFileSync(file, 'latin1');
    // The command name is in brackets and may hold blanks and brackets itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** Start time of a living process; undefined when there is none of that number, or only its zombie. */
export function startTicks(pid: number): number | undefined {
  const found = fields(`/proc/${pid}/stat`);
  return found === undefined || found[0] === 'Z' || found[0] === 'X' ? undefined : Number(found[19]);
}

export function isAlive(process: ProcessIdentity): boolean {
  return startTicks(process.pid) === process.startTicks;
}

/** True when a signal has stopped all its threads. */
export function isStopped(process: ProcessIdentity): boolean {
  const tasks = `/proc/${process.pid}/task`;
  try {
    return fs.readdirSync(tasks).every((task) => fields(`${tasks}/${task}/stat`)?.[0] === 'T') && isAlive(process);
  } catch {
    return false;
  }
}
