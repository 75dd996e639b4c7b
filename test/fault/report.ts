/** What a run found, as JSON and as text. */
import type { Percentiles, ReaderError } from './tally';

export interface FaultReport {
  readonly seed: number;
  readonly started: string;
  /** By a signal: what was seen until then, and no look at what the service made of it. */
  readonly interrupted: boolean;
  readonly seconds: number;
  readonly conditions: { readonly kernel: string; readonly node: string; readonly cpus: number; readonly runtime: string; readonly image: { readonly entries: number; readonly bytes: number }; readonly containers: readonly string[]; readonly readers: number };
  readonly kills: { readonly processes: number; readonly byKind: Readonly<Record<string, number>> };
  /** Others than kills, by kind. */
  readonly events: Readonly<Record<string, number>>;
  /** Operations that were found right, by kind, and bytes compared. */
  readonly reads: Readonly<Record<string, number>>;
  readonly failed: number;
  readonly wrong: number;
  readonly errors: readonly ReaderError[];
  /** Milliseconds from a kill of the serving process until another holds the mount's lock, by what it found. */
  readonly takeoverMs: Readonly<Record<string, Percentiles>>;
  /** Milliseconds from a kill to the end of what was in flight: by which kills, then by kind of operation. */
  readonly stallsMs: Readonly<Record<string, Readonly<Record<string, Percentiles>>>>;
}

export function good(report: FaultReport): boolean {
  return report.failed === 0 && report.wrong === 0;
}

const pairs = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, number]) => `${name} ${number.toLocaleString('en')}`)
    .join(', ');

export function asText(report: FaultReport): string {
  const { bytes = 0, ...reads } = report.reads as Record<string, number>;
  const rows = (title: string, stalls: Readonly<Record<string, Percentiles>>): string[] => [
    `${title.padEnd(54)}${['n', 'p50', 'p90', 'p99', 'max'].map((name) => name.padStart(9)).join('')}`,
    ...Object.entries(stalls).map(([kind, p]) => `  ${kind.padEnd(52)}${[p.count, p.p50, p.p90, p.p99, p.max].map((value) => String(value).padStart(9)).join('')}`),
  ];
  return [
    `seed ${report.seed}, ${report.seconds} s, kernel ${report.conditions.kernel}, Node ${report.conditions.node}, ${report.conditions.cpus} processors, ${report.conditions.runtime}`,
    `${report.conditions.containers.join(', ')}: ${report.conditions.readers} readers of ${report.conditions.image.entries} entries, ${(report.conditions.image.bytes / 1e6).toFixed(0)} MB`,
    `killed: ${report.kills.processes} processes (${pairs(report.kills.byKind)})`,
    `other events: ${pairs(report.events)}`,
    `reads: ${pairs(reads)}; ${(bytes / 1e6).toFixed(0)} MB compared`,
    ...rows('takeover, ms', report.takeoverMs),
    ...Object.entries(report.stallsMs).flatMap(([which, stalls]) => rows(`stalls, ms: ${which}`, stalls)),
    ...(report.interrupted ? ['interrupted'] : []),
    `failed reads: ${report.failed}, wrong reads: ${report.wrong}`,
    ...report.errors.slice(0, 20).map(({ reader, kind, tookMs, what }) => `  ${reader} ${kind} after ${tookMs} ms: ${what}`),
    '',
  ].join('\n');
}
