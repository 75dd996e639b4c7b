/** What commands print: text for people, one JSON document with `--json`; errors on standard error, with an exit code. */
import { Failure } from '../error';

/** Prints the outcome of a command. */
export function print(json: boolean, value: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : text === '' || text.endsWith('\n') ? text : `${text}\n`);
}

/** Lines of columns, aligned; an empty table is an empty text. */
export function table(rows: ReadonlyArray<readonly string[]>): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join('  ')}\n`).join('');
}

/** A size for people: `5.9 MB`. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Prints a failure and answers its exit code (docs/errors.md). */
export function reportFailure(error: unknown, json: boolean): number {
  const failure = Failure.from(error);
  if (json) process.stderr.write(`${JSON.stringify({ error: { ...failure.toJSON(), message: failure.message } })}\n`);
  else process.stderr.write(`mesos-cvmfs: ${failure.message}\n`);
  if (failure.code === 'INTERNAL' && process.env['MESOS_CVMFS_DEBUG'] !== undefined) process.stderr.write(`${failure.cause instanceof Error ? failure.cause.stack : failure.stack}\n`);
  return failure.exitCode;
}
