/**
 * Paths of a repository as text, and back. A path is bytes; in text, bytes that are no UTF-8, blanks, control characters
 * and `%` itself are written `%XX`, so that every path has exactly one text and survives protobuf, JSON and a shell:
 *
 *     2f 61 20 ff c3 a9   ↔   /a%20%FFé
 */
import { isUtf8 } from 'node:buffer';
import { Failure } from '../error';

/** Bytes of a path, and of one name in it: Linux' PATH_MAX and NAME_MAX. */
export const MAX_PATH_BYTES = 4096;
export const MAX_NAME_BYTES = 255;

const hex = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;

/** Length of the UTF-8 sequence that starts at `at`, 0 when there is none. */
function sequence(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) if (isUtf8(bytes.subarray(at, at + length))) return length;
  return 0;
}

export function pathToText(path: Buffer): string {
  let text = '';
  for (let at = 0; at < path.length; ) {
    const length = sequence(path, at);
    const character = path.toString('utf8', at, at + length);
    text += length === 0 || /[%\p{Cc}\p{Z}]/u.test(character) ? [...path.subarray(at, at + Math.max(length, 1))].map(hex).join('') : character;
    at += Math.max(length, 1);
  }
  return text;
}

/** Undoes `pathToText`; what needs no `%XX` may have one. INVALID_ARGUMENT for a `%` that begins none. */
export function textToPath(text: string): Buffer {
  const bad = /%(?![0-9A-Fa-f]{2})/.exec(text);
  if (bad !== null) throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(text.slice(0, 200))}: % at ${bad.index} is not followed by two hex digits`, { next: 'write % itself as %25' });
  const parts = text.split(/%([0-9A-Fa-f]{2})/);
  return Buffer.concat(parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part, 'utf8') : Buffer.from(part, 'hex'))));
}

/**
 * The path of an image as it is asked for: absolute, single slashes, none at the end (`/` for the root). INVALID_ARGUMENT
 * for NUL, `..`, and what is longer than a path or a name can be.
 */
export function imagePath(path: Buffer): Buffer {
  const refuse = (why: string): Failure => new Failure('INVALID_ARGUMENT', `image path ${JSON.stringify(pathToText(path.subarray(0, 200)))} ${why}`, { next: 'give the path of the directory from the root of the repository' });
  if (path.length > MAX_PATH_BYTES) throw refuse(`has ${path.length} bytes, and ${MAX_PATH_BYTES} are allowed`);
  if (path.includes(0)) throw refuse('holds a NUL');
  const names = path.toString('latin1').split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw refuse("holds '..'");
  if (names.some((name) => name.length > MAX_NAME_BYTES)) throw refuse(`holds a name of more than ${MAX_NAME_BYTES} bytes`);
  return Buffer.from(`/${names.join('/')}`, 'latin1');
}
