/** Who a process is, beyond its number: numbers are used again. */
import * as fs from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of /proc/<pid>/stat. */
  readonly startTicks: number;
}

/** The fields of /proc/<pid>/stat from the state (3) on. */
function fields(pid: number): string[] | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name is in brackets and may hold blanks and brackets itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** Start time of a living process; undefined when there is none of that number, or only its zombie. */
export function startTicks(pid: number): number | undefined {
  const found = fields(pid);
  return found === undefined || found[0] === 'Z' || found[0] === 'X' ? undefined : Number(found[19]);
}

export function isAlive(process: ProcessIdentity): boolean {
  return startTicks(process.pid) === process.startTicks;
}

/** True when its main thread was stopped by a signal. */
export function isStopped(process: ProcessIdentity): boolean {
  return fields(process.pid)?.[0] === 'T' && isAlive(process);
}
