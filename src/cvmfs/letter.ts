/**
 * The frame of a signed text file, manifest or whitelist (spec 1.2, 3.2):
 *
 *     text, whose lines end in \n     signed, with its last \n
 *     --\n
 *     hash of the text\n              40 hex digits, and -rmd160 or -shake128
 *     signature                       raw bytes to the end of the file
 *
 * What is signed is the hash as it is printed, not its digest.
 */
import { formatHash, hashBytes, parseHash } from './hash';
import type { Algorithm } from './hash';
import type { Failure } from '../error';

export interface Letter {
  readonly text: Buffer;
  /** The printed hash; it is the text's hash, that has been checked. */
  readonly hash: string;
  readonly signature: Buffer;
}

/** Makes the failure that says what is wrong with the file. */
export type Refuse = (why: string, next?: string) => Failure;

const CUT = Buffer.from('\n--\n');
/** `-shake128` after 40 digits. */
const MAX_HASH_CHARACTERS = 49;
const MAX_SIGNATURE_BYTES = 2048;

/** The part of a letter that is signed: all up to the line `--`. The whole of a text that has no such line. */
export function letterText(bytes: Buffer): Buffer {
  const cut = bytes.indexOf(CUT);
  return cut === -1 ? bytes : bytes.subarray(0, cut + 1);
}

/** Takes a letter apart and checks its hash line. The signature is for signature.ts. */
export function openLetter(bytes: Buffer, refuse: Refuse): Letter {
  const text = letterText(bytes);
  if (text.length === bytes.length) throw refuse('it has no signature');
  const start = text.length + CUT.length - 1;
  const end = bytes.indexOf(0x0a, start);
  if (end === -1 || end - start > MAX_HASH_CHARACTERS) throw refuse('it has no hash line');
  const hash = bytes.toString('latin1', start, end);
  let algorithm: Algorithm;
  try {
    algorithm = parseHash(hash).algorithm;
  } catch {
    throw refuse('its hash line is no hash');
  }
  if (formatHash(hashBytes(algorithm, text)) !== hash) throw refuse('its text does not have the hash that was signed');
  const signature = bytes.subarray(end + 1);
  if (signature.length === 0) throw refuse('it has no signature');
  if (signature.length > MAX_SIGNATURE_BYTES) throw refuse(`its signature is longer than ${MAX_SIGNATURE_BYTES} bytes`);
  return { text, hash, signature };
}

/** `sign` gets the printed hash, and is one of signature.ts. */
export function sealLetter(text: Buffer, algorithm: Algorithm, sign: (hash: string) => Buffer): Buffer {
  const hash = formatHash(hashBytes(algorithm, text));
  return Buffer.concat([text, Buffer.from(`--\n${hash}\n`), sign(hash)]);
}
