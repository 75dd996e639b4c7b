/**
 * Extended attributes of a catalog row (spec 4.4):
 *
 *     byte 0        version, 1
 *     byte 1        number of entries
 *     per entry     byte: length of the name; byte: length of the value; name; value
 *
 * Names ascend in byte order when written. Upstream allows 256 bytes and entries, which wrap to 0 in a byte: 255 here.
 */
import { Failure } from '../error';

export interface Xattr {
  readonly name: Buffer;
  readonly value: Buffer;
}

const VERSION = 1;
const MAX = 255;

/** Short data, another version, a name that is empty or holds a NUL make the whole blob "no attributes", as for the stock client. */
export function parseXattrs(blob: Buffer): Xattr[] {
  const entries: Xattr[] = [];
  if (blob.length < 2 || blob[0] !== VERSION) return [];
  let at = 2;
  for (let left = blob[1]!; left > 0; left -= 1) {
    const nameBytes = blob[at];
    const valueBytes = blob[at + 1];
    if (nameBytes === undefined || valueBytes === undefined || nameBytes === 0) return [];
    const value = at + 2 + nameBytes;
    // A NUL would end the name early in the kernel's list and begin another one.
    if (value + valueBytes > blob.length || blob.subarray(at + 2, value).includes(0)) return [];
    entries.push({ name: blob.subarray(at + 2, value), value: blob.subarray(value, value + valueBytes) });
    at = value + valueBytes;
  }
  return entries;
}

/** INVALID_ARGUMENT for an empty, doubled or overlong name or one with a NUL, an overlong value, or more than 255 entries. */
export function serializeXattrs(entries: readonly Xattr[]): Buffer {
  if (entries.length > MAX) throw new Failure('INVALID_ARGUMENT', `${entries.length} extended attributes, and a catalog holds ${MAX} for an entry`);
  const sorted = [...entries].sort((a, b) => Buffer.compare(a.name, b.name));
  const parts: Buffer[] = [Buffer.of(VERSION, entries.length)];
  sorted.forEach(({ name, value }, i) => {
    if (name.length === 0 || name.length > MAX || name.includes(0) || value.length > MAX || sorted[i + 1]?.name.equals(name) === true) {
      const shown = JSON.stringify(name.toString().slice(0, 80));
      throw new Failure('INVALID_ARGUMENT', `extended attribute ${shown} of ${value.length} bytes can not be kept in a catalog`, {
        next: `names are unique and of 1 to ${MAX} bytes, values of up to ${MAX} bytes`,
      });
    }
    parts.push(Buffer.of(name.length, value.length), name, value);
  });
  return Buffer.concat(parts);
}
