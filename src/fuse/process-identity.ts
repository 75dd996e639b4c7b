/** Who a process is, beyond its number: numbers are used again. */
import * as fs from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of /proc/<pid>/stat. */
  readonly startTicks: number;
}

/** Start time of a living process; undefined when there is none of that number, or only its zombie. */
export function startTicks(pid: number): number | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The command name is in brackets and may hold blanks and brackets itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
}

export function isAlive(process: ProcessIdentity): boolean {
  return startTicks(process.pid) === process.startTicks;
}
