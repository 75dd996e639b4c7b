/**
 * The agent's checkpoint files: a length of 4 bytes (native byte order, little endian wherever this runs), then one
 * protobuf message; written beside the target and renamed, without fsync. So a power failure can leave the file empty, and
 * a kill can leave the temporary one.
 */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Fields } from './wire';
import { Decoded, encode } from './wire';

export function checkpoint(file: string, message: Fields | string): void {
  const bytes = typeof message === 'string' ? Buffer.from(message) : encode(message);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const temporary = path.join(path.dirname(file), randomBytes(3).toString('hex'));
  // Plain text (a pid, JSON) has no length before it.
  fs.writeFileSync(temporary, typeof message === 'string' ? bytes : Buffer.concat([length, bytes]));
  fs.renameSync(temporary, file);
}

/** What a file holds: undefined when it is missing or, after a power failure, empty. */
export function readCheckpoint(file: string): Decoded | undefined {
  if (!fs.existsSync(file)) return undefined;
  const bytes = fs.readFileSync(file);
  if (bytes.length === 0) return undefined;
  if (bytes.length < 4 || bytes.readUInt32LE(0) !== bytes.length - 4) throw new Error(`${file} cannot be read: its length is not what it says`);
  return new Decoded(bytes.subarray(4));
}
