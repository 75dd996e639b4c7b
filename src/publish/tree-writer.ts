/**
 * Turns a source into catalogs: walks it depth first, has files compressed ahead, writes rows in the order of the walk,
 * and closes nested catalogs from the leaves up. What is in memory at a time is bounded: the listings of the directories
 * that are ahead (`MAX_AHEAD_ENTRIES`, or one directory that has more) and a handful of compressed files.
 *
 * A directory with an empty file `.cvmfscatalog` is the root of a nested catalog; its row stands in both catalogs. When a
 * nested catalog has the same rows as the one that was published at its place before, that one is referenced again, so
 * clients fetch nothing new. An object is stored before any row that names it, and a catalog after all that it names.
 */
import { Failure } from '../error';
import { totalCounters } from './catalog-statistics';
import { closeCatalog } from './catalog-store';
import { CatalogWriter, DIRECTORY_FLAGS, joinPath } from './catalog-writer';
import { directoryRow, leafRow, linkGroups } from './entry-rows';
import { FileWriter } from './file-writer';
import type { IngestedFile } from './file-writer';
import type { TreeWriterContext } from './publish-context';
import { openPublished } from './published-catalog';
import type { PublishedCatalog } from './published-catalog';
import { shownPath } from './source';
import type { SourceDirectory, SourceEntry, SourceTree } from './source';
import { walkTree } from './source-walk';

const MAX_AHEAD_ENTRIES = 4096;

type Step =
  | { readonly kind: 'enter'; readonly directory: SourceDirectory; readonly files: Promise<Map<SourceEntry, IngestedFile>> }
  | { readonly kind: 'leave'; readonly directory: SourceDirectory };

/** One directory on the way from the top of the walk to where rows are being written. */
interface Level {
  readonly catalog: CatalogWriter;
  /** The published catalog that held this directory before, if it was there. */
  readonly published: PublishedCatalog | undefined;
  /** True when `published` begins at this directory, and so is closed with it. */
  readonly publishedHere: boolean;
}

/**
 * Writes the tree of `source` at `path` into `catalog`, which already has the row's parent, and into nested catalogs.
 * `published` is the catalog that held `path` before.
 */
export async function writeTree(
  context: TreeWriterContext,
  source: SourceTree,
  path: Buffer,
  catalog: CatalogWriter,
  published: PublishedCatalog | undefined,
): Promise<void> {
  const files = new FileWriter(context, source);
  const walk = walkTree(source, path);
  const queue: Step[] = [];
  const levels: Level[] = [];
  let ahead = 0;
  let done = false;
  try {
    for (;;) {
      while (!done && ahead < MAX_AHEAD_ENTRIES) {
        const next = walk.next();
        if (next.done === true) {
          done = true;
          break;
        }
        const { kind, directory } = next.value;
        if (kind === 'leave') queue.push({ kind, directory });
        else {
          const ingested = files.ingestAll(directory);
          ingested.catch(() => undefined); // awaited below, in turn
          queue.push({ kind, directory, files: ingested });
          ahead += directory.entries.length + 1;
        }
      }
      const step = queue.shift();
      if (step === undefined) return;
      if (step.kind === 'enter') {
        const ingested = await step.files;
        const above = levels[levels.length - 1] ?? { catalog, published, publishedHere: false };
        const level = await open(context, above, step.directory);
        levels.push(level);
        writeRows(context, above.catalog, level.catalog, step.directory, ingested);
        ahead -= step.directory.entries.length + 1;
      } else {
        const level = levels.pop()!;
        await leave(context, step.directory, level, levels[levels.length - 1]?.catalog ?? catalog);
        if (source.changedSince(step.directory.from, step.directory.entry)) {
          context.warn(`${shownPath(step.directory.from)} of ${source.shown} changed while it was published`);
        }
      }
    }
  } finally {
    for (const level of levels) {
      if (level.publishedHere) level.published?.close();
      if (level.catalog !== catalog && level.catalog.prefix.length > 0) level.catalog.discard();
    }
    await Promise.allSettled(queue.map((step) => (step.kind === 'enter' ? step.files : undefined)));
  }
}

/** Opens the catalogs, old and new, that hold what is in a directory. */
async function open(context: TreeWriterContext, above: Level, directory: SourceDirectory): Promise<Level> {
  const before = await publishedBelow(context, above.published, directory.path);
  const catalog = directory.nested ? new CatalogWriter(context.workDir.file('catalog'), directory.path) : above.catalog;
  return { catalog, published: before.catalog, publishedHere: before.here };
}

function writeRows(
  context: TreeWriterContext,
  outer: CatalogWriter,
  catalog: CatalogWriter,
  directory: SourceDirectory,
  files: Map<SourceEntry, IngestedFile>,
): void {
  const { path, from, entries, nested } = directory;
  const row = directoryRow(context, directory);
  outer.insert(nested ? { ...row, flags: DIRECTORY_FLAGS.mountpoint } : row);
  if (nested) catalog.insert({ ...row, flags: DIRECTORY_FLAGS.nestedRoot });

  const groups = linkGroups(entries);
  const numbers = new Map<string, number>();
  for (const child of entries) {
    if (child.type === 'directory') continue; // written when it is entered
    const names = child.link === undefined ? [child] : groups.get(child.link.file)!;
    let group = 0;
    if (child.link !== undefined && names.length > 1) {
      group = numbers.get(child.link.file) ?? catalog.nextGroup();
      numbers.set(child.link.file, group);
    }
    const { row: childRow, chunks } = leafRow(context, joinPath(path, child.name), child, files.get(names[0]!));
    catalog.insert({ ...childRow, linkCount: names.length, hardlinkGroup: group }, chunks);
  }
  const broken = [...groups.values()].find((names) => names[0]!.link!.count > names.length);
  if (broken !== undefined) {
    context.warn(`hard links across directories are published as files of their own, ${shownPath(joinPath(from, broken[0]!.name))} for one`);
  }
  context.totals.entries += entries.length + (from.length === 0 ? 1 : 0);
  context.progress();
}

async function publishedBelow(
  context: TreeWriterContext,
  above: PublishedCatalog | undefined,
  path: Buffer,
): Promise<{ catalog: PublishedCatalog | undefined; here: boolean }> {
  const mounted = path.length === 0 ? undefined : above?.catalog.nestedAt(path);
  if (mounted === undefined || mounted.bind) return { catalog: above, here: false };
  try {
    return { catalog: await openPublished(context.storage, mounted.hash, context.workDir), here: true };
  } catch (err) {
    // It is about to be replaced: a damaged one only costs the chance to keep it.
    context.warn(`the nested catalog that was published at ${shownPath(path)} cannot be compared: ${Failure.from(err).message}`);
    return { catalog: undefined, here: false };
  }
}

async function leave(context: TreeWriterContext, directory: SourceDirectory, level: Level, parent: CatalogWriter): Promise<void> {
  const published = level.publishedHere ? level.published : undefined;
  try {
    if (!directory.nested) return;
    const written = await closeCatalog(context, level.catalog, published, undefined);
    parent.setNested(directory.path, written.hash, written.bytes);
    parent.addSubtree(totalCounters(written.statistics), 1);
  } finally {
    published?.close();
  }
}
