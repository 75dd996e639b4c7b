/**
 * Names of content-addressed objects (spec 2.2), relative to a repository's base URL or storage directory:
 *
 *     data/ab/cdef…            a whole file
 *     data/ab/cdef…P           a chunk of a file
 *     data/ab/cdef…-shake128C  a catalog; H history, X certificate, M metainfo
 *
 * The letter is part of the name and not of the hash: the same bytes may lie under two names.
 */
import { hashSuffix } from './hash';
import type { ContentHash } from './hash';

export type ObjectKind = 'file' | 'chunk' | 'catalog' | 'history' | 'certificate' | 'metainfo';

/** How the stored bytes become the content; catalogs, histories, certificates and metainfo are always `zlib`. */
export type Compression = 'zlib' | 'none';

export interface ObjectId {
  readonly hash: ContentHash;
  readonly kind: ObjectKind;
  readonly compression: Compression;
}

const LETTER: Readonly<Record<ObjectKind, string>> = { file: '', chunk: 'P', catalog: 'C', history: 'H', certificate: 'X', metainfo: 'M' };

/** The one letter (or nothing) that ends the name of an object of this kind. */
export function kindLetter(kind: ObjectKind): string {
  return LETTER[kind];
}

/** `data/ab/cdef…-shake128C`, with no slash in front. */
export function objectPath(id: ObjectId): string {
  const hex = id.hash.digest.toString('hex');
  return `data/${hex.slice(0, 2)}/${hex.slice(2)}${hashSuffix(id.hash.algorithm)}${LETTER[id.kind]}`;
}
