/**
 * Names of a catalog's counters (spec 4.7). Each is there as `self_<name>` for the catalog itself and as
 * `subtree_<name>` for all nested below it, without itself. Chunked files count as regular ones too, and a nested
 * catalog's mount point counts in both catalogs.
 */
export const COUNTERS = [
  'regular',
  'symlink',
  'special',
  'dir',
  'nested',
  'chunked',
  'chunks',
  'file_size',
  'chunked_size',
  'xattr',
  'external',
  'external_file_size',
] as const;

export type Counter = (typeof COUNTERS)[number];

/** What a catalog and all below it hold; of a root catalog, the whole repository. Missing counters are 0. */
export function totals(statistics: ReadonlyMap<string, number>): Record<Counter, number> {
  const sum = (name: Counter): number => (statistics.get(`self_${name}`) ?? 0) + (statistics.get(`subtree_${name}`) ?? 0);
  return Object.fromEntries(COUNTERS.map((name) => [name, sum(name)])) as Record<Counter, number>;
}

/** Entries of that tree: what `df -i` shows. */
export function entryTotal(statistics: ReadonlyMap<string, number>): number {
  const { regular, symlink, special, dir } = totals(statistics);
  return regular + symlink + special + dir;
}
