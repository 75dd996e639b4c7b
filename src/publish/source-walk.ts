/** The order in which a source is published, and where in it nested catalogs begin. */
import { Failure } from '../error';
import { joinPath } from './catalog-writer';
import { shownPath } from './source';
import type { SourceDirectory, SourceEntry, SourceTree } from './source';

const EMPTY = Buffer.alloc(0);
const MARKER = Buffer.from('.cvmfscatalog');

/** Depth first, children in byte order of their names, with a stack of its own: a tree may be deeper than ours. */
export function* walkTree(source: SourceTree, top: Buffer): Generator<{ kind: 'enter' | 'leave'; directory: SourceDirectory }> {
  const load = (entry: SourceEntry, from: Buffer): SourceDirectory => {
    const entries = source.list(from);
    const path = Buffer.concat([top, from]);
    return { path, from, entry, entries, nested: isNested(source, from, path, entries) };
  };
  const stack: Array<{ directory: SourceDirectory; next: number }> = [];
  const root = load(source.root(), EMPTY);
  stack.push({ directory: root, next: 0 });
  yield { kind: 'enter', directory: root };
  for (let level = stack[stack.length - 1]; level !== undefined; level = stack[stack.length - 1]) {
    while (level.next < level.directory.entries.length && level.directory.entries[level.next]!.type !== 'directory') level.next += 1;
    const entry = level.directory.entries[level.next];
    level.next += 1;
    if (entry === undefined) {
      stack.pop();
      yield { kind: 'leave', directory: level.directory };
      continue;
    }
    const directory = load(entry, joinPath(level.directory.from, entry.name));
    stack.push({ directory, next: 0 });
    yield { kind: 'enter', directory };
  }
}

function isNested(source: SourceTree, from: Buffer, path: Buffer, entries: readonly SourceEntry[]): boolean {
  const marker = entries.find((entry) => entry.name.equals(MARKER));
  if (marker === undefined) return false;
  const where = `${shownPath(joinPath(from, MARKER))} of ${source.shown}`;
  if (marker.type !== 'file' || marker.size !== 0) {
    // As a plain entry it would be a marker without a catalog, which the stock checker calls a fault.
    throw new Failure('FAILED_PRECONDITION', `${where} marks a nested catalog and is not an empty regular file`, { next: 'make it empty, or remove it' });
  }
  if (path.length === 0) {
    throw new Failure('FAILED_PRECONDITION', `${where} would make a nested catalog of the repository's root, which is forbidden`, {
      next: 'remove it, or publish with --to',
    });
  }
  return true;
}
