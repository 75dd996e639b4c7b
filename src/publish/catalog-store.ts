/** Compresses and stores what a publish made: pieces of files, catalogs, histories. */
import * as fs from 'node:fs';
import { Failure } from '../error';
import type { ContentHash } from '../cvmfs/hash';
import { objectPath } from '../cvmfs/object';
import type { CatalogStatistics } from './catalog-statistics';
import type { CatalogWriter } from './catalog-writer';
import type { Piece } from './ingest';
import type { StoreContext } from './publish-context';
import type { PublishedCatalog } from './published-catalog';

/** A catalog that was written, or the published one that is equal to it. */
export interface WrittenCatalog {
  readonly hash: ContentHash;
  readonly bytes: number;
  readonly statistics: CatalogStatistics;
}

/** What a root catalog has and others do not. */
export interface RootHeader {
  readonly revision: number;
  readonly ttlSeconds: number;
  readonly extra: ReadonlyMap<string, string>;
}

/** Completes a catalog and stores it, or keeps the published one when nothing in it changed (a root always changes). */
export async function closeCatalog(
  context: StoreContext,
  writer: CatalogWriter,
  published: PublishedCatalog | undefined,
  root: RootHeader | undefined,
): Promise<WrittenCatalog> {
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

/** Stores a piece under its name, and counts it when it was not there. */
export async function putPiece(context: StoreContext, piece: Piece, name: string): Promise<void> {
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
