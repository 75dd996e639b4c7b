/**
 * Lowest rowid of each hard-link group. A directory is read once, when the first of its hard links is met, and
 * answers for all of them: asking row by row would be quadratic in a directory of thousands of links. Kept for the
 * directories met last, bounded by the number of groups.
 */
import type { CatalogEntry } from './catalog-entry';

/** About 20 MB at most. */
const MAX_GROUPS = 200_000;
const PAGE_ROWS = 1000;

export class HardlinkGroups {
  private readonly directories = new Map<string, ReadonlyMap<number, number>>();
  private total = 0;

  /** `directory` names what `readPage` reads: entries above a rowid in rowid order, an empty page at the end. */
  lowest(group: number, directory: string, readPage: (afterRowid: number, limit: number) => CatalogEntry[]): number | undefined {
    let groups = this.directories.get(directory);
    if (groups === undefined) {
      groups = collect(readPage);
      this.directories.set(directory, groups);
      this.total += groups.size;
      for (const [oldest, dropped] of this.directories) {
        if (this.total <= MAX_GROUPS || oldest === directory) break;
        this.directories.delete(oldest);
        this.total -= dropped.size;
      }
    }
    return groups.get(group);
  }
}

function collect(readPage: (afterRowid: number, limit: number) => CatalogEntry[]): Map<number, number> {
  const lowest = new Map<number, number>();
  let after = 0;
  for (let page = readPage(after, PAGE_ROWS); page.length > 0; page = readPage(after, PAGE_ROWS)) {
    for (const entry of page) {
      if (entry.hardlinkGroup !== 0 && !lowest.has(entry.hardlinkGroup)) lowest.set(entry.hardlinkGroup, entry.rowid);
      after = entry.rowid;
    }
  }
  return lowest;
}
