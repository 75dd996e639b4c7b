/**
 * Fingerprint of a certificate (spec 3.4): a hash of its DER bytes, as lines of whitelists and blacklists print it.
 *
 *     99:20:1B:…:89:AE             SHA-1
 *     99:20:1B:…:89:AE-SHAKE128    or -RMD160
 *
 * Either case is read, upper case is written; after a blank, a tab or `#` comes a comment.
 */
import { hashSuffix } from './hash';
import type { Algorithm, ContentHash } from './hash';

const PATTERN = /^((?:[0-9A-F]{2}:){19}[0-9A-F]{2})(?:-(RMD160|SHAKE128))?$/;

/** undefined for a line that is no fingerprint. */
export function parseFingerprint(line: string): ContentHash | undefined {
  const match = PATTERN.exec(line.replace(/[ \t#].*$/s, '').toUpperCase());
  if (match === null) return undefined;
  return { algorithm: (match[2]?.toLowerCase() as Algorithm | undefined) ?? 'sha1', digest: Buffer.from(match[1]!.replaceAll(':', ''), 'hex') };
}

export function formatFingerprint(fingerprint: ContentHash): string {
  const pairs = fingerprint.digest.toString('hex').toUpperCase().match(/../g) ?? [];
  return pairs.join(':') + hashSuffix(fingerprint.algorithm).toUpperCase();
}
