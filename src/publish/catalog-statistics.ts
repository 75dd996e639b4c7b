/** Counting what a catalog holds (spec 4.7; the names are in ../cvmfs/statistics.ts). */
import { COUNTERS } from '../cvmfs/statistics';
import type { Counter } from '../cvmfs/statistics';

export type Counters = Record<Counter, number>;

export interface CatalogStatistics {
  readonly self: Counters;
  readonly subtree: Counters;
}

export function noCounters(): Counters {
  return Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as Counters;
}

/** a + sign * b, a new object. */
export function addCounters(a: Counters, b: Counters, sign: 1 | -1 = 1): Counters {
  return Object.fromEntries(COUNTERS.map((counter) => [counter, a[counter] + sign * b[counter]])) as Counters;
}

/** What a catalog adds to its parent's `subtree_`: all of itself. */
export function totalCounters(statistics: CatalogStatistics): Counters {
  return addCounters(statistics.self, statistics.subtree);
}

/** From the rows of the table `statistics`; counters of later schema revisions that are absent count as zero. */
export function readStatistics(rows: ReadonlyMap<string, number>): CatalogStatistics {
  const pick = (prefix: string): Counters => Object.fromEntries(COUNTERS.map((counter) => [counter, rows.get(prefix + counter) ?? 0])) as Counters;
  return { self: pick('self_'), subtree: pick('subtree_') };
}

/** How each `self_` counter follows from the rows. */
export const COUNTER_SQL: Readonly<Record<Counter, string>> = {
  chunked: 'SELECT count(*) FROM catalog WHERE flags & 64',
  chunked_size: 'SELECT coalesce(sum(size), 0) FROM catalog WHERE flags & 64',
  chunks: 'SELECT count(*) FROM chunks',
  dir: 'SELECT count(*) FROM catalog WHERE flags & 1',
  external: 'SELECT count(*) FROM catalog WHERE flags & 128',
  external_file_size: 'SELECT coalesce(sum(size), 0) FROM catalog WHERE flags & 128',
  file_size: 'SELECT coalesce(sum(size), 0) FROM catalog WHERE flags & 28 = 4',
  nested: 'SELECT count(*) FROM nested_catalogs',
  regular: 'SELECT count(*) FROM catalog WHERE flags & 28 = 4',
  special: 'SELECT count(*) FROM catalog WHERE flags & 16',
  symlink: 'SELECT count(*) FROM catalog WHERE flags & 8',
  xattr: 'SELECT count(*) FROM catalog WHERE xattr IS NOT NULL',
};
