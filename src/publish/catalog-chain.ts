/**
 * The catalogs on the way from the root to the path that is published to: opened from the revision before, rewritten
 * with what changed, and left as they are when nothing did.
 */
import { Failure } from '../error';
import { isDirectory } from '../cvmfs/flags';
import { parseHash, sameHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { pathKey } from '../cvmfs/path-key';
import { addCounters, totalCounters } from './catalog-statistics';
import { closeCatalog } from './catalog-store';
import type { RootHeader, WrittenCatalog } from './catalog-store';
import { CatalogWriter, DIRECTORY_FLAGS, parentPath } from './catalog-writer';
import type { TreeWriterContext } from './publish-context';
import { openPublished } from './published-catalog';
import type { PublishedCatalog } from './published-catalog';
import { shownPath } from './source';
import type { SourceTree } from './source';
import { writeTree } from './tree-writer';

const EMPTY = Buffer.alloc(0);

/** The directories above a path, from the root (the empty path) down. */
function ancestors(path: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = path; at.length > 0;) {
    at = parentPath(at);
    found.unshift(at);
  }
  return found;
}

/** The catalogs from the root's to the one that has the row of `to`, which is the last. */
export async function openChain(context: TreeWriterContext, rootHash: ContentHash, to: Buffer): Promise<PublishedCatalog[]> {
  const chain = [await openPublished(context.storage, rootHash, context.workDir)];
  try {
    for (const directory of ancestors(to)) {
      const last = chain[chain.length - 1]!;
      const nested = directory.length === 0 ? undefined : last.catalog.nestedAt(directory);
      if (nested === undefined) continue;
      if (nested.bind) throw new Failure('FAILED_PRECONDITION', `${shownPath(directory)} shows another revision and can not be published into`);
      chain.push(await openPublished(context.storage, nested.hash, context.workDir));
    }
    return chain;
  } catch (err) {
    chain.forEach((catalog) => catalog.close());
    throw err;
  }
}

/** Publishes the source at `to`; resolves to the new root catalog. */
export async function writeChain(
  context: TreeWriterContext,
  source: SourceTree,
  chain: readonly PublishedCatalog[],
  to: Buffer,
  root: RootHeader,
): Promise<WrittenCatalog> {
  const deepest = chain.length - 1;
  const last = chain[deepest]!;
  const writer = new CatalogWriter(context.workDir.file('catalog'), last.catalog.rootPrefix);
  try {
    const grown = await prepareParent(context, writer, last, to);
    await writeTree(context, source, to, writer, last);
    await context.step('tree');
    let written = await closeCatalog(context, writer, last, deepest === 0 ? root : undefined);
    for (let depth = deepest - 1; depth >= 0; depth--)
      written = await rewriteParent(context, chain[depth]!, chain[depth + 1]!, written, grown, depth === 0 ? root : undefined);
    return written;
  } finally {
    writer.discard();
  }
}

/**
 * Puts into `writer` what stays of the catalog beside `to`, and the directories above `to` that are missing. Returns the
 * directory that got a subdirectory more, if there is one.
 */
async function prepareParent(context: TreeWriterContext, writer: CatalogWriter, last: PublishedCatalog, to: Buffer): Promise<Buffer | undefined> {
  if (to.length === 0) return undefined;
  const lost = writer.keep(last.file, to);
  writer.subtree = last.statistics.subtree;
  for (const { hash } of lost) {
    const nested = await openPublished(context.storage, parseHash(hash), context.workDir);
    writer.addSubtree(totalCounters(nested.statistics), -1);
    nested.close();
  }
  const missing: Buffer[] = [];
  for (const directory of ancestors(to)) {
    if (directory.length < last.catalog.rootPrefix.length) continue;
    const entry = last.catalog.byKey(pathKey(directory));
    if (entry === undefined) missing.push(directory);
    else if (!isDirectory(entry.flags)) {
      throw new Failure('NOT_A_DIRECTORY', `${shownPath(directory)} is in the repository and is not a directory`, {
        next: `give another path than ${shownPath(to)}`,
      });
    }
  }
  for (const directory of missing) {
    writer.insert({
      path: directory,
      flags: DIRECTORY_FLAGS.plain,
      hash: null,
      size: 4096,
      mode: 0o040755,
      mtime: context.now,
      mtimeNs: null,
      linkCount: 3,
      hardlinkGroup: 0,
      uid: 0,
      gid: 0,
      symlink: EMPTY,
      xattrs: null,
    });
    context.totals.entries += 1;
  }
  const before = last.catalog.byKey(pathKey(to));
  if (missing.length === 0 && before !== undefined && isDirectory(before.flags)) return undefined;
  if (before !== undefined && before.hardlinkGroup !== 0) writer.shrinkGroup(before.hardlinkGroup);
  const grown = parentPath(missing[0] ?? to);
  writer.addLinks(grown, 1);
  return grown;
}

/** The catalog above one that was written: again as it is, with the new reference. */
async function rewriteParent(
  context: TreeWriterContext,
  parent: PublishedCatalog,
  child: PublishedCatalog,
  written: WrittenCatalog,
  grown: Buffer | undefined,
  root: RootHeader | undefined,
): Promise<WrittenCatalog> {
  const mountpoint = child.catalog.rootPrefix;
  if (root === undefined && sameHash(written.hash, child.hash)) return { hash: parent.hash, bytes: parent.bytes, statistics: parent.statistics };
  const writer = new CatalogWriter(context.workDir.file('catalog'), parent.catalog.rootPrefix);
  try {
    writer.keep(parent.file);
    writer.subtree = parent.statistics.subtree;
    writer.addSubtree(addCounters(totalCounters(written.statistics), totalCounters(child.statistics), -1), 1);
    writer.setNested(mountpoint, written.hash, written.bytes);
    // The mount point's row stands in both catalogs and is the same in both.
    if (grown?.equals(mountpoint) === true) writer.addLinks(mountpoint, 1);
    return await closeCatalog(context, writer, parent, root);
  } finally {
    writer.discard();
  }
}
