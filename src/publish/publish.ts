/**
 * `publish`: makes the subtree at a path of a repository equal to a source, deletions included, in one new revision.
 *
 * The rest of the tree stays: catalogs beside the path are referenced by the hash that they have, those on the path are
 * written anew when something in them changed, the root always. Missing directories on the path are made with mode 0755,
 * and the path itself takes the attributes of the source's root. Nothing is visible before the manifest, which comes last.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { isFileName } from '../cvmfs/catalog-entry';
import { isDirectory } from '../cvmfs/flags';
import { formatHash, parseHash, sameHash } from '../cvmfs/hash';
import { History } from '../cvmfs/history';
import type { Compression } from '../cvmfs/object';
import { pathKey } from '../cvmfs/path-key';
import { checkRepositoryName } from '../cvmfs/repository-name';
import { addCounters, totalCounters } from './catalog-statistics';
import { CatalogWriter, DIRECTORY_FLAGS, isAtOrBelow, joinPath, parentPath } from './catalog-writer';
import { checkChunkSizes, DEFAULT_CHUNK_SIZES } from './chunk-detector';
import type { ChunkSizes } from './chunk-detector';
import { deflater } from './deflater';
import { DirectorySource } from './directory-source';
import { DirectoryStorage } from './directory-storage';
import { checkTag, writeHistory } from './history-writer';
import { createIngestPool } from './ingest-pool';
import { readSigningKeys } from './keys';
import { openRepository } from './open-repository';
import type { OpenRepository } from './open-repository';
import { openPublished } from './published-catalog';
import type { PublishedCatalog } from './published-catalog';
import { systemWorld } from './publish-world';
import type { PublishWorld } from './publish-world';
import { writeRevision } from './revision-writer';
import { parseSource, shownPath } from './source';
import type { SourceTree, Warn } from './source';
import { storageDirectory } from './storage';
import { openTar } from './tar-source';
import { closeCatalog, storeFile, writeTree } from './tree-writer';
import type { TreeWriterContext, WrittenCatalog } from './tree-writer';
import { WorkDir } from './work-dir';

export interface PublishOptions {
  /** `dir:PATH` or `tar:PATH`; a tar may be gzip-compressed. */
  readonly source: string;
  readonly fqrn: string;
  readonly storage: string;
  readonly keys: string;
  /** Where in the repository; default `/`. Bytes where the path is not UTF-8. */
  readonly to?: string | Buffer;
  /** Names the revision. */
  readonly tag?: string;
  /** Description of the tag. */
  readonly message?: string;
  /** Default 4, 8, 16 MiB; null: no file is cut. */
  readonly chunks?: ChunkSizes | null;
  /** Default zlib. */
  readonly compression?: Compression;
  /** Record nanoseconds of times, which old clients do not show; default false. */
  readonly mtimeNs?: boolean;
  /** Publish extended attributes; default true. */
  readonly xattrs?: boolean;
}

export interface Published {
  readonly fqrn: string;
  readonly revision: number;
  /** Hex with algorithm suffix. */
  readonly rootHash: string;
  readonly to: Buffer;
  readonly entries: number;
  readonly files: number;
  /** Plain bytes read. */
  readonly bytes: number;
  readonly newObjects: number;
  /** Stored bytes that were not there before. */
  readonly newBytes: number;
  /** Catalogs written, the root among them. */
  readonly catalogs: number;
  readonly warnings: readonly string[];
}

const EMPTY = Buffer.alloc(0);
/** What a mount of ours keeps for itself in the root of a repository. */
const VIEWS_NAME = Buffer.from('.cvmfs-view');
/** Of one kind of message a tree may give thousands. */
const MAX_WARNINGS = 100;
/** Properties of a root catalog that mean something to clients and are nobody's to drop. */
const KEPT_PROPERTIES = ['volatile', 'voms_authz'];

export async function publish(options: PublishOptions, world: PublishWorld = systemWorld): Promise<Published> {
  const fqrn = checkRepositoryName(options.fqrn);
  const to = repositoryPath(options.to ?? '/');
  const { kind, path } = parseSource(options.source);
  if (options.tag !== undefined) checkTag(options.tag, options.message);
  else if (options.message !== undefined) throw new Failure('INVALID_ARGUMENT', 'a message describes a tag, and there is none', { next: 'give --tag too' });
  const chunks = options.chunks === undefined ? DEFAULT_CHUNK_SIZES : options.chunks;
  if (chunks !== null) checkChunkSizes(chunks);
  const keys = readSigningKeys(options.keys, fqrn);
  const storage = new DirectoryStorage(storageDirectory(options.storage));

  const warnings: string[] = [];
  const warn: Warn = (message) => {
    if (warnings.length < MAX_WARNINGS) warnings.push(message);
    world.onWarning?.(message);
  };
  const lock = await storage.lock();
  // Below the storage: what is on a full or slow /tmp would not be missed there, and the next holder of the lock clears it.
  const workDir = new WorkDir(storage.spoolDir);
  const pool = createIngestPool(world.workers);
  const closing: Array<() => void> = [];
  try {
    await world.onStep?.('locked');
    if (deflater().engine === 'pako') warn("this system's libz.so.1 is not stock zlib, so a slower one is used that gives the same bytes");
    const repository = await openRepository({ storage, fqrn, keys, keysDir: options.keys, workDir, now: world.now(), warn });
    if (options.tag !== undefined) refuseTakenTag(repository, options.tag);
    const { manifest } = repository;
    const now = Math.max(Math.floor(world.now().getTime() / 1000), manifest.publishedAt + 1);
    const totals = { entries: 0, files: 0, bytes: 0, newObjects: 0, newBytes: 0, catalogs: 0 };
    const context: TreeWriterContext = {
      storage, workDir, pool, algorithm: manifest.rootHash.algorithm, compression: options.compression ?? 'zlib', chunks, mtimeNs: options.mtimeNs ?? false, now, totals, warn,
      progress: () => world.onProgress?.(totals),
      step: async (name) => world.onStep?.(name),
      storing: new Map(),
    };
    const xattrs = options.xattrs ?? true;
    const source = kind === 'dir' ? new DirectorySource(path, { xattrs }) : await openTar(path, { workDir: workDir.path, xattrs }, warn);
    closing.push(() => source.close());
    if (shadowsViews(source, to)) warn(`/${VIEWS_NAME.toString()} in the root of ${fqrn} will not be seen: mesos-cvmfs mounts show pinned views under this name`);
    const chain = await openChain(context, repository, to);
    closing.push(...chain.map((catalog) => () => catalog.close()));
    const revision = manifest.revision + 1;
    const root = await writeChain(context, source, chain, to, {
      revision,
      ttlSeconds: manifest.ttlSeconds,
      extra: new Map(KEPT_PROPERTIES.flatMap((name) => (chain[0]!.catalog.property(name) === undefined ? [] : [[name, chain[0]!.catalog.property(name)!]]))),
    });

    writeHistory(repository.historyFile, fqrn, manifest.history, {
      rootHash: root.hash, rootSize: root.bytes, revision, timestamp: now, ...(options.tag === undefined ? {} : { tag: options.tag, message: options.message ?? '' }),
    });
    const history = await storeFile(context, repository.historyFile, fs.statSync(repository.historyFile).size, 'history');
    await context.step('history');
    await writeRevision(
      { storage, workDir, fqrn, algorithm: context.algorithm, keys, step: context.step },
      { manifest: { ...manifest, rootHash: root.hash, rootSize: root.bytes, revision, history, publishedAt: now }, reflogFile: repository.reflogFile },
    );
    return { fqrn, revision, rootHash: formatHash(root.hash), to, ...totals, warnings };
  } finally {
    for (const close of closing.reverse()) close();
    await pool.close();
    workDir.remove();
    await lock.release();
  }
}

/** `/a/b` as bytes; empty for the root. INVALID_ARGUMENT for what is no absolute path of file names. */
export function repositoryPath(path: string | Buffer): Buffer {
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  const parts: Buffer[] = [];
  for (let start = 1; start <= bytes.length; ) {
    const slash = bytes.indexOf(0x2f, start);
    const end = slash < 0 ? bytes.length : slash;
    if (end > start) parts.push(bytes.subarray(start, end));
    start = end + 1;
  }
  if (bytes[0] !== 0x2f || !parts.every(isFileName)) {
    throw new Failure('INVALID_ARGUMENT', `${shownPath(bytes)} is not a path in a repository`, { next: 'give an absolute path without . and ..' });
  }
  return parts.reduce(joinPath, EMPTY);
}

function shadowsViews(source: SourceTree, to: Buffer): boolean {
  const name = joinPath(EMPTY, VIEWS_NAME);
  return to.length === 0 ? source.again(name) !== undefined : isAtOrBelow(to, name);
}

function refuseTakenTag(repository: OpenRepository, tag: string): void {
  if (!fs.existsSync(repository.historyFile) || History.read(repository.historyFile).byName(tag) === undefined) return;
  throw new Failure('ALREADY_EXISTS', `the tag ${tag} names another revision already`, { next: 'choose another name' });
}

/** The directories above a path, from the root (the empty path) down. */
function ancestors(path: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = path; at.length > 0; ) {
    at = parentPath(at);
    found.unshift(at);
  }
  return found;
}

/** The catalogs from the root's to the one that has the row of `to`, which is the last. */
async function openChain(context: TreeWriterContext, repository: OpenRepository, to: Buffer): Promise<PublishedCatalog[]> {
  const chain = [await openPublished(context.storage, repository.manifest.rootHash, context.workDir)];
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

async function writeChain(
  context: TreeWriterContext, source: SourceTree, chain: readonly PublishedCatalog[], to: Buffer, root: { revision: number; ttlSeconds: number; extra: ReadonlyMap<string, string> },
): Promise<WrittenCatalog> {
  const deepest = chain.length - 1;
  const last = chain[deepest]!;
  const writer = new CatalogWriter(context.workDir.file('catalog'), last.catalog.rootPrefix);
  try {
    const grown = await prepareParent(context, writer, last, to);
    await writeTree(context, source, to, writer, last);
    await context.step('tree');
    let written = await closeCatalog(context, writer, last, deepest === 0 ? root : undefined);
    for (let depth = deepest - 1; depth >= 0; depth--) written = await rewriteParent(context, chain[depth]!, chain[depth + 1]!, written, grown, depth === 0 ? root : undefined);
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
      throw new Failure('NOT_A_DIRECTORY', `${shownPath(directory)} is in the repository and is not a directory`, { next: `give another path than ${shownPath(to)}` });
    }
  }
  for (const directory of missing) {
    writer.insert({
      path: directory, flags: DIRECTORY_FLAGS.plain, hash: null, size: 4096, mode: 0o040755, mtime: context.now, mtimeNs: null,
      linkCount: 3, hardlinkGroup: 0, uid: 0, gid: 0, symlink: EMPTY, xattrs: null,
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
  context: TreeWriterContext, parent: PublishedCatalog, child: PublishedCatalog, written: WrittenCatalog, grown: Buffer | undefined,
  root: { revision: number; ttlSeconds: number; extra: ReadonlyMap<string, string> } | undefined,
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

