/**
 * Turns a source into catalogs: walks it depth first, has files compressed ahead, writes rows in the order of the walk,
 * and closes nested catalogs from the leaves up. What is in memory at a time is bounded: the listings of the directories
 * that are ahead (`MAX_AHEAD_ENTRIES`, or one directory that has more) and a handful of compressed files.
 *
 * A directory with an empty file `.cvmfscatalog` is the root of a nested catalog; its row stands in both catalogs. When a
 * nested catalog has the same rows as the one that was published at its place before, that one is referenced again, so
 * clients fetch nothing new. An object is stored before any row that names it, and a catalog after all that it names.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { contentFlags, FLAG } from '../cvmfs/flags';
import type { Algorithm, ContentHash } from '../cvmfs/hash';
import { objectPath } from '../cvmfs/object';
import type { Compression } from '../cvmfs/object';
import { serializeXattrs } from '../cvmfs/xattr-blob';
import { totalCounters } from './catalog-statistics';
import type { CatalogStatistics } from './catalog-statistics';
import { CatalogWriter, DIRECTORY_FLAGS, joinPath } from './catalog-writer';
import type { CatalogRow, ChunkRow } from './catalog-writer';
import type { ChunkSizes } from './chunk-detector';
import type { Piece } from './ingest';
import type { IngestPool } from './ingest-pool';
import type { PublishStep } from './publish-world';
import { openPublished } from './published-catalog';
import type { PublishedCatalog } from './published-catalog';
import { modeOf, shownPath } from './source';
import type { SourceEntry, SourceTree, Warn } from './source';
import type { Storage } from './storage';
import type { WorkDir } from './work-dir';

export interface Totals {
  entries: number;
  files: number;
  /** Plain bytes read. */
  bytes: number;
  newObjects: number;
  /** Stored bytes that were not there before. */
  newBytes: number;
  catalogs: number;
}

/** What storing a catalog takes. */
export interface StoreContext {
  readonly storage: Storage;
  readonly workDir: WorkDir;
  readonly pool: IngestPool;
  readonly algorithm: Algorithm;
  /** Unix seconds, of catalogs and of what has no time of its own. */
  readonly now: number;
  readonly totals: Totals;
  readonly step: (name: PublishStep) => Promise<void>;
  /** Objects that are being stored, by name: of equal files that come together one is written. */
  readonly storing: Map<string, Promise<boolean>>;
}

export interface TreeWriterContext extends StoreContext {
  readonly compression: Compression;
  readonly chunks: ChunkSizes | null;
  /** Record the nanoseconds of times. */
  readonly mtimeNs: boolean;
  readonly warn: Warn;
  readonly progress: () => void;
}

const MARKER = Buffer.from('.cvmfscatalog');
const EMPTY = Buffer.alloc(0);
const MAX_AHEAD_ENTRIES = 4096;
/** Files that are being compressed or stored at a time. */
const MAX_AHEAD_FILES = 64;
/** How often a file is read again that changes while it is read. */
const ATTEMPTS = 3;

/** A catalog that was written, or the published one that is equal to it. */
export interface WrittenCatalog {
  readonly hash: ContentHash;
  readonly bytes: number;
  readonly statistics: CatalogStatistics;
}

interface IngestedFile {
  readonly entry: SourceEntry;
  readonly pieces: readonly Pick<Piece, 'offset' | 'size' | 'digest'>[];
}

interface Directory {
  readonly path: Buffer;
  /** Path in the source. */
  readonly from: Buffer;
  readonly entry: SourceEntry;
  readonly entries: readonly SourceEntry[];
  readonly nested: boolean;
}

type Step = { readonly kind: 'enter'; readonly directory: Directory; readonly files: Promise<Map<SourceEntry, IngestedFile>> } | { readonly kind: 'leave'; readonly directory: Directory };

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
export async function writeTree(context: TreeWriterContext, source: SourceTree, path: Buffer, catalog: CatalogWriter, published: PublishedCatalog | undefined): Promise<void> {
  const files = new FileWriter(context, source);
  const walk = walkTree(source, path, context.warn);
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

/** Depth first, children in byte order of their names, with a stack of its own: a tree may be deeper than ours. */
function* walkTree(source: SourceTree, top: Buffer, warn: Warn): Generator<{ kind: 'enter' | 'leave'; directory: Directory }> {
  const load = (entry: SourceEntry, from: Buffer): Directory => {
    const entries = source.list(from);
    const path = Buffer.concat([top, from]);
    return { path, from, entry, entries, nested: isNested(source, from, path, entries, warn) };
  };
  const stack: Array<{ directory: Directory; next: number }> = [];
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

function isNested(source: SourceTree, from: Buffer, path: Buffer, entries: readonly SourceEntry[], warn: Warn): boolean {
  const marker = entries.find((entry) => entry.name.equals(MARKER));
  if (marker === undefined) return false;
  const where = `${shownPath(joinPath(from, MARKER))} of ${source.shown}`;
  if (marker.type !== 'file' || marker.size !== 0) {
    warn(`${where} is not an empty regular file and makes no nested catalog`);
    return false;
  }
  if (path.length === 0) {
    throw new Failure('FAILED_PRECONDITION', `${where} would make a nested catalog of the repository's root, which is forbidden`, { next: 'remove it, or publish with --to' });
  }
  return true;
}

/** Opens the catalogs, old and new, that hold what is in a directory. */
async function open(context: TreeWriterContext, above: Level, directory: Directory): Promise<Level> {
  const before = await publishedBelow(context, above.published, directory.path);
  const catalog = directory.nested ? new CatalogWriter(context.workDir.file('catalog'), directory.path) : above.catalog;
  return { catalog, published: before.catalog, publishedHere: before.here };
}

function writeRows(context: TreeWriterContext, outer: CatalogWriter, catalog: CatalogWriter, directory: Directory, files: Map<SourceEntry, IngestedFile>): void {
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

async function publishedBelow(context: TreeWriterContext, above: PublishedCatalog | undefined, path: Buffer): Promise<{ catalog: PublishedCatalog | undefined; here: boolean }> {
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

async function leave(context: TreeWriterContext, directory: Directory, level: Level, parent: CatalogWriter): Promise<void> {
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

/** What a root catalog has and others do not. */
export interface RootHeader {
  readonly revision: number;
  readonly ttlSeconds: number;
  readonly extra: ReadonlyMap<string, string>;
}

/** Completes a catalog and stores it, or keeps the published one when nothing in it changed (a root always changes). */
export async function closeCatalog(context: StoreContext, writer: CatalogWriter, published: PublishedCatalog | undefined, root: RootHeader | undefined): Promise<WrittenCatalog> {
  if (root === undefined && published !== undefined && writer.sameAs(published.file)) {
    writer.discard();
    return { hash: published.hash, bytes: published.bytes, statistics: published.statistics };
  }
  const statistics = writer.finish({
    prefix: writer.prefix,
    revision: root?.revision ?? (published === undefined ? 1 : published.catalog.revision + 1),
    lastModified: context.now,
    previous: published?.hash,
    ...(root === undefined ? {} : { ttlSeconds: root.ttlSeconds, extra: root.extra }),
  });
  const bytes = fs.statSync(writer.file).size;
  const hash = await storeFile(context, writer.file, bytes, 'catalog');
  fs.rmSync(writer.file);
  context.totals.catalogs += 1;
  await context.step('catalog');
  return { hash, bytes, statistics };
}

/** Compresses and stores a database: a catalog or a history. */
export async function storeFile(context: StoreContext, file: string, bytes: number, kind: 'catalog' | 'history'): Promise<ContentHash> {
  const result = await context.pool.run({
    content: { file: Buffer.from(file), offset: 0, length: bytes },
    algorithm: context.algorithm,
    compression: 'zlib',
    chunks: null,
    spoolDir: context.storage.spoolDir,
    unique: kind,
  });
  if (result.changed) throw new Failure('INTERNAL', `the ${kind} ${file} was cut short before it was stored`);
  const piece = result.pieces[0]!;
  const hash: ContentHash = { algorithm: context.algorithm, digest: piece.digest };
  await putPiece(context, piece, objectPath({ hash, kind, compression: 'zlib' }));
  return hash;
}

async function putPiece(context: StoreContext, piece: Piece, name: string): Promise<void> {
  const size = 'bytes' in piece.stored ? piece.stored.bytes.length : piece.stored.size;
  const before = context.storing.get(name);
  const stored = (before ?? Promise.resolve()).then(() => context.storage.putObject(name, piece.stored));
  context.storing.set(name, stored);
  try {
    if (!(await stored)) return;
    context.totals.newObjects += 1;
    context.totals.newBytes += size;
  } finally {
    if (context.storing.get(name) === stored) context.storing.delete(name);
  }
}

/** Names in one directory that are one file, by what identifies it. */
function linkGroups(entries: readonly SourceEntry[]): Map<string, SourceEntry[]> {
  const groups = new Map<string, SourceEntry[]>();
  for (const entry of entries) {
    if (entry.link === undefined) continue;
    const group = groups.get(entry.link.file);
    if (group === undefined) groups.set(entry.link.file, [entry]);
    else group.push(entry);
  }
  return groups;
}

function directoryRow(context: TreeWriterContext, directory: Directory): CatalogRow {
  const { path, entry, entries } = directory;
  return {
    ...commonRow(context, path, entry),
    flags: DIRECTORY_FLAGS.plain,
    size: entry.size,
    // Counted, since file systems that do not count say 1 for every directory.
    linkCount: 2 + entries.filter((child) => child.type === 'directory').length,
  };
}

function leafRow(context: TreeWriterContext, path: Buffer, entry: SourceEntry, ingested: IngestedFile | undefined): { row: CatalogRow; chunks: ChunkRow[] } {
  if (entry.type === 'symlink') {
    const target = entry.target ?? EMPTY;
    return { row: { ...commonRow(context, path, entry), flags: FLAG.regular | FLAG.symlink, size: target.length, symlink: target }, chunks: [] };
  }
  if (entry.type !== 'file') return { row: { ...commonRow(context, path, entry), flags: FLAG.regular | FLAG.special, size: entry.device ?? 0 }, chunks: [] };
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

/** Has files compressed and stores them, a bounded number at a time. */
class FileWriter {
  private running = 0;
  private readonly waiting: Array<() => void> = [];
  private sequence = 0;
  private failure: unknown;

  constructor(
    private readonly context: TreeWriterContext,
    private readonly source: SourceTree,
  ) {}

  /** The files of a directory; of hard links the first name only. */
  async ingestAll(directory: Directory): Promise<Map<SourceEntry, IngestedFile>> {
    const done = new Map<SourceEntry, IngestedFile>();
    const seen = new Set<string>();
    const started = new Set<Promise<void>>();
    for (const entry of directory.entries) {
      if (entry.type !== 'file' || (entry.link !== undefined && seen.has(entry.link.file))) continue;
      if (entry.link !== undefined) seen.add(entry.link.file);
      await this.slot();
      if (this.failure !== undefined) {
        this.release();
        break;
      }
      const work: Promise<void> = this.ingest(directory.from, entry)
        .then((file) => void done.set(entry, file))
        .catch((err: unknown) => void (this.failure ??= err)) // nothing that comes after it is worth starting
        .finally(() => {
          this.release();
          started.delete(work);
        });
      started.add(work);
    }
    await Promise.all(started);
    if (this.failure !== undefined) throw this.failure;
    return done;
  }

  private async ingest(directory: Buffer, listed: SourceEntry): Promise<IngestedFile> {
    const { context } = this;
    const path = joinPath(directory, listed.name);
    let entry: SourceEntry | undefined = listed;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (entry?.content === undefined) break;
      this.sequence += 1;
      const result = await context.pool.run({
        content: entry.content,
        algorithm: context.algorithm,
        compression: context.compression,
        chunks: context.chunks,
        spoolDir: context.storage.spoolDir,
        unique: String(this.sequence),
      });
      if (result.changed) {
        entry = this.source.again(path);
        continue;
      }
      const { pieces } = result;
      for (const piece of pieces) {
        const hash: ContentHash = { algorithm: context.algorithm, digest: piece.digest };
        await putPiece(context, piece, objectPath({ hash, kind: pieces.length > 1 ? 'chunk' : 'file', compression: context.compression }));
      }
      context.totals.files += 1;
      context.totals.bytes += entry.size;
      // Kept small: a million of these may wait for their turn.
      return { entry, pieces: pieces.map(({ offset, size, digest }) => ({ offset, size, digest: Buffer.from(digest) })) };
    }
    throw new Failure('FAILED_PRECONDITION', `${shownPath(path)} of ${this.source.shown} changes or goes away while it is published`, {
      next: 'publish from a tree that nobody writes to, a snapshot for example',
    });
  }

  private async slot(): Promise<void> {
    while (this.running >= MAX_AHEAD_FILES) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running += 1;
  }

  private release(): void {
    this.running -= 1;
    this.waiting.shift()?.();
  }
}
