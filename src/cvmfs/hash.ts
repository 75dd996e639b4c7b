/**
 * Content hashes (spec 2.1): three algorithms, all with digests of 20 bytes. As text: 40 lower-case hex digits, then
 * nothing for SHA-1, `-rmd160` or `-shake128`:
 *
 *     e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78
 *     fcdb20b894f31f1306d56294c049ca7293dde0fc-rmd160
 *     28d94b83b7229b331fc601362b8e272e02665122-shake128
 *
 * A hash is over the bytes that are stored and transferred, so over the compressed stream of a compressed object.
 * All zeros is the null hash: "no object".
 */
import { createHash } from 'node:crypto';
import { Failure } from '../error';

export type Algorithm = 'sha1' | 'rmd160' | 'shake128';

export const DIGEST_BYTES = 20;

export interface ContentHash {
  readonly algorithm: Algorithm;
  /** 20 bytes. */
  readonly digest: Buffer;
}

/** Hashing while bytes stream by. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** 20 bytes; ends the hasher. */
  digest(): Buffer;
}

const SUFFIX: Readonly<Record<Algorithm, string>> = { sha1: '', rmd160: '-rmd160', shake128: '-shake128' };
const PATTERN = /^([0-9a-f]{40})(?:-(rmd160|shake128))?$/;

/** The text form; INVALID_ARGUMENT for anything but exactly that. */
export function parseHash(text: string): ContentHash {
  const match = PATTERN.exec(text);
  if (match === null) {
    throw new Failure('INVALID_ARGUMENT', `not a content hash: ${JSON.stringify(text.slice(0, 60))}`, {
      next: 'a hash is 40 lower-case hex digits, followed by -rmd160 or -shake128 for these algorithms',
    });
  }
  return { algorithm: (match[2] as Algorithm | undefined) ?? 'sha1', digest: Buffer.from(match[1]!, 'hex') };
}

export function formatHash(hash: ContentHash): string {
  return hash.digest.toString('hex') + SUFFIX[hash.algorithm];
}

/** `''`, `'-rmd160'` or `'-shake128'`: what follows the hex digits in a hash's text and in an object's name. */
export function hashSuffix(algorithm: Algorithm): string {
  return SUFFIX[algorithm];
}

export function createHasher(algorithm: Algorithm): Hasher {
  const hash =
    algorithm === 'sha1'
      ? createHash('sha1')
      : algorithm === 'rmd160'
        ? createHash('ripemd160')
        : createHash('shake128', { outputLength: DIGEST_BYTES });
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
}

export function hashBytes(algorithm: Algorithm, bytes: Uint8Array): ContentHash {
  const hasher = createHasher(algorithm);
  hasher.update(bytes);
  return { algorithm, digest: hasher.digest() };
}

export function sameHash(a: ContentHash, b: ContentHash): boolean {
  return a.algorithm === b.algorithm && a.digest.equals(b.digest);
}

/** True for a digest of zeros, which stands for "no object". */
export function isNullHash(hash: ContentHash): boolean {
  return hash.digest.every((byte) => byte === 0);
}
