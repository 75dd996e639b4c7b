/**
 * What the readers said, put beside what was done to the processes: counts, errors, and how long the operations took that
 * were in flight when a process was killed.
 */

export interface Kill {
  /** Microseconds of the monotonic clock, taken just before the first signal. */
  readonly atUs: number;
  /** Roles in alphabetical order, joined by `+`. */
  readonly what: string;
  /** Readers that asked at that time: of one that saw no operation of a millisecond or more, the stall is below that. */
  readonly probes: readonly string[];
  /** A spare that was ready stayed alive. */
  readonly warm: boolean;
  /** No fault of network or disk was under way, or had just ended. */
  readonly quiet: boolean;
}

export interface ReaderError {
  readonly reader: string;
  readonly kind: string;
  readonly atUs: number;
  readonly tookMs: number;
  readonly what: string;
}

export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** An operation that began this soon after the kill met the dead server too: readers do not ask without a pause. */
const IN_FLIGHT_US = 5_000;
/** Of one reader; older ones belong to no kill any more. */
const OPERATIONS_MAX = 20_000;

interface Operation {
  readonly kind: string;
  readonly beganUs: number;
  readonly endedUs: number;
}

export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

export function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => Math.round((sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? 0) * 10) / 10;
  return { count: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

export class Tally {
  readonly kills: Kill[] = [];
  readonly errors: ReaderError[] = [];
  readonly takeovers: Array<{ readonly ms: number; readonly warm: boolean }> = [];
  readonly #operations = new Map<string, Operation[]>();
  readonly #counts = new Map<string, Readonly<Record<string, number>>>();
  readonly #heard = new Map<string, number>();

  /** A line of reader.py. */
  line(line: string): void {
    const [what, reader = '', ...rest] = line.split(' ');
    if (what === 'L') {
      const [kind = '', began, ended] = rest;
      const list = this.#operations.get(reader) ?? [];
      if (list.length >= OPERATIONS_MAX) list.splice(0, OPERATIONS_MAX / 2);
      list.push({ kind, beganUs: Number(began), endedUs: Number(ended) });
      this.#operations.set(reader, list);
    } else if (what === 'S') {
      this.#counts.set(reader, Object.fromEntries(rest.filter((pair) => pair.includes('=')).map((pair) => pair.split('=')).map(([name, number]) => [name!, Number(number)])));
    } else if (what === 'E') {
      const [kind = '', began, ended, ...text] = rest;
      this.errors.push({ reader, kind, atUs: Number(began), tookMs: Math.round((Number(ended) - Number(began)) / 1000), what: text.join(' ') });
    }
    if (what === 'END') this.#heard.delete(reader);
    else if (what === 'L' || what === 'S') this.#heard.set(reader, nowUs());
  }

  /** Something that went wrong beside the readers. */
  trouble(what: string): void {
    this.errors.push({ reader: 'suite', kind: 'trouble', atUs: nowUs(), tookMs: 0, what });
  }

  /** Readers that ask without any cache of the kernel's in between, and run now. */
  probes(): string[] {
    return [...this.#heard.keys()].filter((reader) => reader.includes('.p'));
  }

  /** Readers that have not said anything for so long that their operation has failed. */
  silent(limitMs: number): string[] {
    return [...this.#heard].filter(([, at]) => nowUs() - at > limitMs * 1000).map(([reader]) => reader);
  }

  reads(): Record<string, number> {
    const sum: Record<string, number> = {};
    for (const counts of this.#counts.values()) for (const [kind, number] of Object.entries(counts)) sum[kind] = (sum[kind] ?? 0) + number;
    return sum;
  }

  /**
   * Milliseconds from the kill to the end of the operations in flight, by kind. Those of the probes have a value for each
   * reader and kill: 1 where the reader saw nothing of a millisecond or more.
   */
  stalls(wanted: (kill: Kill) => boolean): Record<string, Percentiles> {
    const found: Record<string, number[]> = { probe: [] };
    for (const kill of this.kills.filter(wanted)) {
      const asked = new Set(kill.probes);
      for (const [reader, operations] of this.#operations) {
        const mine = operations.filter(({ beganUs, endedUs }) => endedUs > kill.atUs && beganUs < kill.atUs + IN_FLIGHT_US);
        const stall = ({ beganUs, endedUs }: Operation): number => (endedUs - Math.max(beganUs, kill.atUs)) / 1000;
        if (asked.delete(reader)) found['probe']!.push(Math.max(1, ...mine.map(stall)));
        else for (const operation of mine) (found[operation.kind] ??= []).push(stall(operation));
      }
      for (let rest = asked.size; rest > 0; rest--) found['probe']!.push(1);
    }
    return Object.fromEntries(Object.entries(found).filter(([, values]) => values.length > 0).map(([kind, values]) => [kind, percentiles(values)]));
  }
}
