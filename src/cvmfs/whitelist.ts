/**
 * The whitelist `.cvmfswhitelist`: which certificates may sign a repository's manifests (spec 1.3). Signed with the
 * master key; letter.ts has the frame. Lines in this order:
 *
 *     20261121020037              created, UTC
 *     E20361120020037             expires, UTC
 *     Nsw.example.org
 *     Vpkcs7, Wcachain            optional; other ways of signing, which we refuse
 *     99:20:1B:…-SHAKE128 # name  one fingerprint a line
 */
import { Failure } from '../error';
import { formatFingerprint, parseFingerprint } from './fingerprint';
import type { ContentHash } from './hash';
import { letterText } from './letter';
import type { Refuse } from './letter';

export interface Whitelist {
  readonly created: Date;
  /** As written, to the second. */
  readonly expires: Date;
  /** From this moment on it is refused: the beginning of the hour it expires in, as the stock client counts. */
  readonly validUntil: Date;
  readonly fqrn: string;
  readonly fingerprints: readonly ContentHash[];
}

export const MAX_WHITELIST_BYTES = 256 * 1024;

/** Whether name and time fit is the caller's question. `refuse` makes the failure; WHITELIST_INVALID by default. */
export function parseWhitelist(bytes: Buffer, refuse: Refuse = (why) => new Failure('WHITELIST_INVALID', `whitelist: ${why}`)): Whitelist {
  if (bytes.length > MAX_WHITELIST_BYTES) throw refuse(`it is longer than ${MAX_WHITELIST_BYTES} bytes`);
  const text = letterText(bytes).toString('utf8');
  if (text === '') throw refuse('it is empty');
  const [createdLine = '', expiresLine = '', nameLine = '', ...rest] = text.replace(/\n$/, '').split('\n');
  const created = parseTime(createdLine);
  if (created === undefined) throw refuse('its first line is not a time');
  const expires = expiresLine[0] === 'E' ? parseTime(expiresLine.slice(1)) : undefined;
  if (expires === undefined) throw refuse('its second line is not the time at which it expires');
  if (nameLine[0] !== 'N') throw refuse('its third line is not the name of a repository');
  const fingerprints: ContentHash[] = [];
  for (const line of rest) {
    if (line === '--') break;
    if (line === 'Vpkcs7') throw refuse('it is signed with PKCS#7, which is not supported', 'ask the owner for one signed with the master key');
    if (line === 'Wcachain') throw refuse('it asks for certificates of a certification authority, which is not supported', 'ask the owner for one without Wcachain');
    const fingerprint = parseFingerprint(line);
    if (fingerprint !== undefined) fingerprints.push(fingerprint);
  }
  const validUntil = new Date(expires);
  validUntil.setUTCMinutes(0, 0, 0);
  return { created, expires, validUntil, fqrn: nameLine.slice(1), fingerprints };
}

/** The text to sign. */
export function serializeWhitelist(whitelist: Omit<Whitelist, 'validUntil'>): Buffer {
  const { created, expires, fqrn, fingerprints } = whitelist;
  const lines = [formatTime(created), `E${formatTime(expires)}`, `N${fqrn}`, ...fingerprints.map(formatFingerprint)];
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

/** `YYYYMMDDhhmmss`, UTC. */
function formatTime(time: Date): string {
  return time.toISOString().replace(/[-T:]/g, '').slice(0, 14);
}

function parseTime(text: string): Date | undefined {
  if (!/^[0-9]{14}$/.test(text)) return undefined;
  const iso = text.replace(/^(....)(..)(..)(..)(..)(..)$/, '$1-$2-$3T$4:$5:$6.000Z');
  const time = new Date(iso);
  // The 31st of a short month is not a time, although Date finds one for it.
  return Number.isNaN(time.getTime()) || time.toISOString() !== iso ? undefined : time;
}
