import { LRUCache } from 'lru-cache';

/** Objects that were fetched and checked before, by sha256. May also be on disk; what it answers is checked again. */
export interface ConfigCache {
  get(digest: string): Promise<Buffer | undefined> | Buffer | undefined;
  set(digest: string, bytes: Buffer): unknown;
}

/** One in memory, bounded by the bytes that it holds. */
export function createConfigCache(maxBytes = 16 * 1024 * 1024): ConfigCache {
  return new LRUCache<string, Buffer>({ maxSize: maxBytes, sizeCalculation: (bytes) => bytes.length + 1 });
}
