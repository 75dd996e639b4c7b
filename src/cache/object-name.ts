/**
 * Names of objects in the cache:
 *
 *     objects/e8/e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78-sha1-zlib
 *             │  hash of the STORED bytes, 40 hex           │    how the stored bytes were compressed: zlib | none
 *             first two hex digits                          sha1 | rmd160 | shake128
 *
 * The file holds the PLAIN bytes. Algorithm and compression are part of the name because one hash may stand for two
 * contents: a repository could publish another one's compressed bytes as an uncompressed object, and without the
 * compression in the name a cache that both share would hand those bytes out as the other's file. The object's kind is
 * no part of it: a chunk and a file of the same hash and compression are the same bytes.
 */
import type { ContentHash } from '../cvmfs/hash';
import type { Compression, ObjectId } from '../cvmfs/object';

/** What a name in the cache says; an `ObjectId` is one. */
export type CacheKey = Pick<ObjectId, 'hash' | 'compression'>;

const PATTERN = /^([0-9a-f]{40})-(sha1|rmd160|shake128)-(zlib|none)$/;

/** `<40 hex>-<algorithm>-<compression>`. */
export function objectName(id: CacheKey): string {
  return `${id.hash.digest.toString('hex')}-${id.hash.algorithm}-${id.compression}`;
}

/** The opposite; null for anything that is not exactly such a name. */
export function parseObjectName(name: string): CacheKey | null {
  const match = PATTERN.exec(name);
  if (match === null) return null;
  return {
    hash: { algorithm: match[2] as ContentHash['algorithm'], digest: Buffer.from(match[1]!, 'hex') },
    compression: match[3] as Compression,
  };
}

/** Where the object of that name lies: `<dir>/objects/xx/<name>`. `name` must come from `objectName`. */
export function objectFile(dir: string, name: string): string {
  return `${dir}/objects/${name.slice(0, 2)}/${name}`;
}
