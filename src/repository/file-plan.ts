/**
 * Where the bytes of a regular file are: one object, or the chunks of a large file, in the cache or to be fetched
 * (spec 2.3, 2.4, 4.8).
 */
import { Failure } from '../error';
import type { Catalog, CatalogEntry } from '../cvmfs/catalog';
import { compression, hashAlgorithm, isChunked, isExternal, isRegular } from '../cvmfs/flags';
import type { ObjectNeed } from './missing';

export interface FilePlan {
  readonly size: number;
  /** Objects in order of offset, covering the file exactly. */
  readonly parts: ReadonlyArray<{ readonly offset: number; readonly size: number; readonly need: ObjectNeed }>;
}

/** `catalogText`: the catalog's hash, for messages. INVALID_ARGUMENT for what is no regular file. */
export function filePlan(catalog: Catalog, catalogText: string, entry: CatalogEntry): FilePlan {
  if (!isRegular(entry.flags)) throw new Failure('INVALID_ARGUMENT', 'no regular file');
  const algorithm = hashAlgorithm(entry.flags);
  const packing = compression(entry.flags);
  const what = catalog.pathOf(entry);
  if (algorithm === undefined || packing === undefined) throw new Failure('CATALOG_INVALID', `${what.toString()} has unknown flags ${entry.flags} in catalog ${catalogText}`);
  const external = (range?: { offset: number; length: number }): Pick<ObjectNeed, 'external'> =>
    isExternal(entry.flags) ? { external: { path: what.toString('latin1'), ...(range === undefined ? {} : { range }) } } : {};
  if (isChunked(entry.flags)) {
    const parts = catalog
      .chunks(entry)
      .map((chunk) => ({
        offset: chunk.offset,
        size: chunk.size,
        need: {
          hash: { algorithm, digest: chunk.hash },
          kind: 'chunk' as const,
          compression: packing,
          plainSize: chunk.size,
          what: `${what.toString()} at ${chunk.offset}`,
          ...external({ offset: chunk.offset, length: chunk.size }),
        },
      }));
    return { size: entry.size, parts };
  }
  if (entry.hash === null) throw new Failure('CATALOG_INVALID', `${what.toString()} has no content hash in catalog ${catalogText}`, { next: 'tell the publisher of the repository' });
  // The kernel never reads an empty file, and its object need not be fetched.
  if (entry.size === 0) return { size: 0, parts: [] };
  return {
    size: entry.size,
    parts: [{ offset: 0, size: entry.size, need: { hash: { algorithm, digest: entry.hash }, kind: 'file', compression: packing, plainSize: entry.size, what: what.toString(), ...external() } }],
  };
}
