/**
 * The `flags` column of a catalog row (spec 4.3): one bit per property, and two small fields.
 *
 *     1 directory          32 root of a nested catalog    0x4000 bind mount point
 *     2 nested mount point 64 chunked                     0x8000 hidden from listings
 *     4 regular            128 external data             0x10000 direct I/O
 *     8 symbolic link      bits 8–10 hash algorithm: 0 SHA-1, 1 RIPEMD-160, 2 SHAKE-128
 *    16 special file       bits 11–13 compression: 0 zlib, 1 none
 *
 * Links are written as 4|8 and special files as 4|16.
 */
import type { Algorithm } from './hash';
import type { Compression } from './object';

export const FLAG = {
  directory: 1,
  nestedMountpoint: 2,
  regular: 4,
  symlink: 8,
  special: 16,
  nestedRoot: 32,
  chunked: 64,
  external: 128,
  bind: 0x4000,
  hidden: 0x8000,
  directIo: 0x10000,
} as const;

const ALGORITHMS: readonly Algorithm[] = ['sha1', 'rmd160', 'shake128'];
const COMPRESSIONS: readonly Compression[] = ['zlib', 'none'];

export const isDirectory = (flags: number): boolean => (flags & FLAG.directory) !== 0;
/** The directory in the parent catalog that a nested catalog is attached to. */
export const isNestedMountpoint = (flags: number): boolean => (flags & FLAG.nestedMountpoint) !== 0;
/** The same directory's row in the nested catalog. */
export const isNestedRoot = (flags: number): boolean => (flags & FLAG.nestedRoot) !== 0;
export const isSymlink = (flags: number): boolean => (flags & FLAG.symlink) !== 0;
/** Pipe, socket or device. */
export const isSpecial = (flags: number): boolean => (flags & FLAG.special) !== 0;
export const isRegular = (flags: number): boolean => (flags & (FLAG.regular | FLAG.symlink | FLAG.special)) === FLAG.regular;
export const isChunked = (flags: number): boolean => (flags & FLAG.chunked) !== 0;
export const isExternal = (flags: number): boolean => (flags & FLAG.external) !== 0;
export const isBind = (flags: number): boolean => (flags & FLAG.bind) !== 0;
/** Found by name, left out of listings. */
export const isHidden = (flags: number): boolean => (flags & FLAG.hidden) !== 0;
export const isDirectIo = (flags: number): boolean => (flags & FLAG.directIo) !== 0;

/** Algorithm of the row's hash and of its chunks' hashes; undefined for a number that nobody defined. */
export function hashAlgorithm(flags: number): Algorithm | undefined {
  return ALGORITHMS[(flags >> 8) & 7];
}

/** undefined for a number that nobody defined. */
export function compression(flags: number): Compression | undefined {
  return COMPRESSIONS[(flags >> 11) & 7];
}

/** The two fields as they are written. */
export function contentFlags(algorithm: Algorithm, how: Compression): number {
  return (ALGORITHMS.indexOf(algorithm) << 8) | (COMPRESSIONS.indexOf(how) << 11);
}
