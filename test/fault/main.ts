/**
 * `make test-faults`: the fault suite from the environment.
 *
 *     SEED=<n>         of the schedule; printed, so that a run can be repeated      default: taken from the clock
 *     KILLS=<n>        processes to kill                                             1000
 *     MINUTES=<n>      ends earlier after this long                                  60
 *     PAUSE_MS=<n>     mean pause between two events                                 300
 *     READERS=<n>      in each of the four containers, beside one that measures      1
 *     SIZE=small|large image                                                         large
 *     ROLES=a,b        whose processes die                                           all
 *     KILLS_ONLY=1     no publishing, no faults of network and disk
 *     STOP=1           ends at the first failure
 *     KEEP=DIR         where logs go when something was found                        nowhere
 *     OUT=DIR          writes <date>-<seed>.json there, such as docs/benchmarks/faults
 *
 * Exits with 1 when a read failed or was wrong, with 130 when it was interrupted; then it prints what it saw until then.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { runFaults } from './fault-run';
import { asText, good } from './report';
import { ROLES } from './schedule';
import type { Role } from './schedule';

const SEEDS = 1_000_000;

function number(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${process.env[name]} is not a number`);
  return value;
}

function roles(): readonly Role[] {
  const names = process.env['ROLES']?.split(',');
  if (names === undefined) return ROLES;
  const unknown = names.find((name) => !ROLES.some((role) => role === name));
  if (unknown !== undefined) throw new Error(`ROLES: ${unknown} is none of ${ROLES.join(', ')}`);
  return ROLES.filter((role) => names.includes(role));
}

async function main(): Promise<void> {
  const { OUT: out, KEEP: keepLogs, SIZE: size = 'large' } = process.env;
  if (size !== 'small' && size !== 'large') throw new Error(`SIZE=${size} is neither small nor large`);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());
  const report = await runFaults({
    seed: number('SEED', Date.now() % SEEDS),
    kills: number('KILLS', 1_000),
    minutes: number('MINUTES', 60),
    meanPauseMs: number('PAUSE_MS', 300),
    size,
    mixers: number('READERS', 1),
    roles: roles(),
    killsOnly: process.env['KILLS_ONLY'] === '1',
    stopAtFailure: process.env['STOP'] === '1',
    log: (text) => process.stderr.write(`${text}\n`),
    ...(keepLogs === undefined ? {} : { keepLogs }),
    signal: interrupted.signal,
  });
  process.stdout.write(asText(report));
  if (out !== undefined && !report.interrupted) {
    fs.mkdirSync(out, { recursive: true });
    fs.writeFileSync(path.join(out, `${report.started.slice(0, 10)}-${report.seed}.json`), `${JSON.stringify(report, null, 2)}\n`);
  }
  process.exitCode = !good(report) ? 1 : report.interrupted ? 130 : 0;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
});
