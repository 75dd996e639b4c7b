/**
 * Durations and sizes as people write them, always with a unit, so that nobody has to know whether a number means
 * seconds or minutes:
 *
 *   duration  "250ms" "1s" "15m" "1h" "7d", also fractions ("1.5h"); read as milliseconds
 *   size      "20 GB" (10^9), "512 MiB" (2^20), "4000 MB", "0 B"; read as bytes
 *
 * A duration may be "0s". Negative values, other units, a missing unit and more than the limits are refused.
 */
import { Failure } from '../error';

const DURATION_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** 100 years: what is longer is a slip of the pen. */
export const MAX_DURATION_MS = 100 * 365 * 86_400_000;

/** Milliseconds of a duration such as "15m". Throws CONFIG_INVALID. */
export function parseDuration(text: string): number {
  return parse(text, 'a duration', DURATION_MS, MAX_DURATION_MS, 'write it with a unit: "250ms", "1s", "15m", "1h", "7d"');
}

/** Bytes of a size such as "20 GB" or "512 MiB". Throws CONFIG_INVALID. */
export function parseSize(text: string): number {
  return parse(text, 'a size', SIZE_BYTES, Number.MAX_SAFE_INTEGER, 'write it with a unit: "20 GB", "512 MiB", "0 B"');
}

function parse(text: string, what: string, units: Readonly<Record<string, number>>, max: number, next: string): number {
  const match = /^([0-9]{1,16})(?:\.([0-9]{1,6}))? ?([A-Za-z]{1,3})$/.exec(text);
  const unit = match === null || !Object.hasOwn(units, match[3]!) ? undefined : units[match[3]!];
  if (match === null || unit === undefined) throw new Failure('CONFIG_INVALID', `"${text.slice(0, 80)}" is not ${what}`, { next });
  const value = Math.round(Number(`${match[1]}.${match[2] ?? '0'}`) * unit);
  if (value > max) throw new Failure('CONFIG_INVALID', `"${text}" is over the limit of ${what}`, { next });
  return value;
}

/** The shortest text that reads back as the same number: 900000 is "15m". */
export function formatDuration(ms: number): string {
  return format(ms, ['d', 'h', 'm', 's', 'ms'], DURATION_MS, '');
}

/** The shortest text that reads back as the same number: 20e9 is "20 GB", 2^29 is "512 MiB". */
export function formatSize(bytes: number): string {
  return format(bytes, ['TiB', 'TB', 'GiB', 'GB', 'MiB', 'MB', 'KiB', 'kB', 'B'], SIZE_BYTES, ' ');
}

function format(value: number, names: readonly string[], units: Readonly<Record<string, number>>, gap: string): string {
  const last = names[names.length - 1]!;
  const name = value === 0 ? last : (names.find((candidate) => value % units[candidate]! === 0) ?? last);
  return `${value / units[name]!}${gap}${name}`;
}
