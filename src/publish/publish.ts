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
import { formatHash } from '../cvmfs/hash';
import { History } from '../cvmfs/history';
import type { Compression } from '../cvmfs/object';
import { checkRepositoryName } from '../cvmfs/repository-name';
import { openChain, writeChain } from './catalog-chain';
import { storeFile } from './catalog-store';
import { isAtOrBelow, joinPath } from './catalog-writer';
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
import type { TreeWriterContext } from './publish-context';
import { systemWorld } from './publish-world';
import type { PublishWorld } from './publish-world';
import { writeRevision } from './revision-writer';
import { parseSource, shownPath } from './source';
import type { SourceTree, Warn } from './source';
import { storageDirectory } from './storage';
import { openTar } from './tar-source';
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
  else if (options.message !== undefined)
    throw new Failure('INVALID_ARGUMENT', 'a message describes a tag, and there is none', { next: 'give --tag too' });
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
      storage,
      workDir,
      pool,
      algorithm: manifest.rootHash.algorithm,
      compression: options.compression ?? 'zlib',
      chunks,
      mtimeNs: options.mtimeNs ?? false,
      now,
      totals,
      warn,
      progress: () => world.onProgress?.(totals),
      step: async (name) => world.onStep?.(name),
      storing: new Map(),
    };
    const xattrs = options.xattrs ?? true;
    const source = kind === 'dir' ? new DirectorySource(path, { xattrs }) : await openTar(path, { workDir: workDir.path, xattrs }, warn);
    closing.push(() => source.close());
    if (shadowsViews(source, to))
      warn(`/${VIEWS_NAME.toString()} in the root of ${fqrn} will not be seen: mesos-cvmfs mounts show pinned views under this name`);
    const chain = await openChain(context, manifest.rootHash, to);
    closing.push(...chain.map((catalog) => () => catalog.close()));
    const revision = manifest.revision + 1;
    const root = await writeChain(context, source, chain, to, {
      revision,
      ttlSeconds: manifest.ttlSeconds,
      extra: new Map(
        KEPT_PROPERTIES.flatMap((name) => (chain[0]!.catalog.property(name) === undefined ? [] : [[name, chain[0]!.catalog.property(name)!]])),
      ),
    });

    writeHistory(repository.historyFile, fqrn, manifest.history, {
      rootHash: root.hash,
      rootSize: root.bytes,
      revision,
      timestamp: now,
      ...(options.tag === undefined ? {} : { tag: options.tag, message: options.message ?? '' }),
    });
    const history = await storeFile(context, repository.historyFile, fs.statSync(repository.historyFile).size, 'history');
    await context.step('history');
    await writeRevision(
      { storage, workDir, fqrn, algorithm: context.algorithm, keys, step: context.step },
      {
        manifest: { ...manifest, rootHash: root.hash, rootSize: root.bytes, revision, history, publishedAt: now },
        reflogFile: repository.reflogFile,
      },
    );
    return { fqrn, revision, rootHash: formatHash(root.hash), to, ...totals, warnings };
  } catch (err) {
    if ((err as { code?: unknown }).code === 'SQLITE_FULL')
      throw new Failure('NO_SPACE', `no space is left in ${storage.place} for the catalogs`, { cause: err });
    throw Failure.from(err, `cannot publish to ${fqrn}`);
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
  for (let start = 1; start <= bytes.length;) {
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
