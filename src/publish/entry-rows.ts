/** Makes the rows of catalogs from the entries of a source (spec 4.3, 4.4). */
import { Failure } from '../error';
import { contentFlags, FLAG } from '../cvmfs/flags';
import { serializeXattrs } from '../cvmfs/xattr-blob';
import { DIRECTORY_FLAGS } from './catalog-writer';
import type { CatalogRow, ChunkRow } from './catalog-writer';
import type { IngestedFile } from './file-writer';
import type { TreeWriterContext } from './publish-context';
import { modeOf, shownPath } from './source';
import type { SourceDirectory, SourceEntry } from './source';

const EMPTY = Buffer.alloc(0);

/** Names in one directory that are one file, by what identifies it. */
export function linkGroups(entries: readonly SourceEntry[]): Map<string, SourceEntry[]> {
  const groups = new Map<string, SourceEntry[]>();
  for (const entry of entries) {
    if (entry.link === undefined) continue;
    const group = groups.get(entry.link.file);
    if (group === undefined) groups.set(entry.link.file, [entry]);
    else group.push(entry);
  }
  return groups;
}

export function directoryRow(context: TreeWriterContext, directory: SourceDirectory): CatalogRow {
  const { path, entry, entries } = directory;
  return {
    ...commonRow(context, path, entry),
    flags: DIRECTORY_FLAGS.plain,
    size: entry.size,
    // Counted, since file systems that do not count say 1 for every directory.
    linkCount: 2 + entries.filter((child) => child.type === 'directory').length,
  };
}

export function leafRow(
  context: TreeWriterContext,
  path: Buffer,
  entry: SourceEntry,
  ingested: IngestedFile | undefined,
): { row: CatalogRow; chunks: ChunkRow[] } {
  if (entry.type === 'symlink') {
    const target = entry.target ?? EMPTY;
    return { row: { ...commonRow(context, path, entry), flags: FLAG.regular | FLAG.symlink, size: target.length, symlink: target }, chunks: [] };
  }
  if (entry.type !== 'file')
    return { row: { ...commonRow(context, path, entry), flags: FLAG.regular | FLAG.special, size: entry.device ?? 0 }, chunks: [] };
  if (ingested === undefined) throw new Failure('INTERNAL', `${shownPath(path)} was not read`);
  const { pieces } = ingested;
  const chunked = pieces.length > 1;
  const row: CatalogRow = {
    // As it was when it was read, which may be later than when it was listed.
    ...commonRow(context, path, ingested.entry),
    flags: FLAG.regular | contentFlags(context.algorithm, context.compression) | (chunked ? FLAG.chunked : 0),
    hash: chunked ? null : pieces[0]!.digest,
    size: ingested.entry.size,
  };
  return { row, chunks: chunked ? [...pieces] : [] };
}

function commonRow(context: TreeWriterContext, path: Buffer, entry: SourceEntry): CatalogRow {
  return {
    path,
    flags: 0,
    hash: null,
    size: 0,
    mode: modeOf(entry),
    mtime: entry.mtime,
    mtimeNs: context.mtimeNs ? entry.mtimeNs : null,
    linkCount: 1,
    hardlinkGroup: 0,
    uid: entry.uid,
    gid: entry.gid,
    symlink: EMPTY,
    xattrs: xattrBlob(path, entry),
  };
}

function xattrBlob(path: Buffer, entry: SourceEntry): Buffer | null {
  if (entry.xattrs.length === 0) return null;
  try {
    return serializeXattrs(entry.xattrs);
  } catch (err) {
    throw new Failure('INVALID_ARGUMENT', `${shownPath(path)} can not be published: ${Failure.from(err).message}`);
  }
}
