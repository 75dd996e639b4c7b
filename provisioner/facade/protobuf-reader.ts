/**
 * Protobuf as it lies on disk, read without a schema: a message is a row of fields, each a varint key (number << 3 | wire
 * type) and a value. Only what files of an agent hold; everything else (groups, lengths beyond the end, absurd numbers) is
 * refused, since such a file is damaged or not what it claims to be.
 *
 *     wire type 0 varint · 1 eight bytes · 2 length and bytes · 5 four bytes
 */
import { Failure } from '../../src/error';

const FIELDS_MAX = 100_000;

function damaged(why: string): Failure {
  return new Failure('STATE_DAMAGED', `it is no message: ${why}`);
}

/** The values of all length-delimited fields with that number, in their order. */
export function fieldsOf(message: Buffer, number: number): Buffer[] {
  const found: Buffer[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) throw damaged('it ends in the middle of a number');
      // No number that is looked at has more than 32 bits; higher bits of others only have to be skipped.
      if (shift < 32) value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw damaged('a number has more than ten bytes');
  };
  const skip = (bytes: number): void => {
    at += bytes;
    if (at > message.length) throw damaged('a field is longer than the rest');
  };
  for (let fields = 0; at < message.length; fields++) {
    if (fields >= FIELDS_MAX) throw damaged(`it has more than ${FIELDS_MAX} fields`);
    const key = varint();
    const type = key % 8;
    if (type === 0) varint();
    else if (type === 1) skip(8);
    else if (type === 5) skip(4);
    else if (type === 2) {
      const length = varint();
      const begin = at;
      skip(length);
      if (Math.floor(key / 8) === number) found.push(message.subarray(begin, at));
    } else throw damaged(`a field has wire type ${type}`);
  }
  return found;
}

/** Follows a chain of field numbers into nested messages; all that it leads to. */
export function nestedFields(message: Buffer, ...numbers: readonly number[]): Buffer[] {
  return numbers.reduce<Buffer[]>((messages, number) => messages.flatMap((one) => fieldsOf(one, number)), [message]);
}

/**
 * A checkpoint as agents write it (docs/mesos-facts.md 1.8): a 4-byte length in the machine's own byte order, then the message.
 * An empty file is what a power cut leaves, and no message: undefined.
 */
export function checkpointMessage(bytes: Buffer): Buffer | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes.length < 4) throw damaged('it has fewer than four bytes');
  const length = bytes.readUInt32LE(0);
  if (length !== bytes.length - 4) throw damaged(`it announces ${length} bytes and has ${bytes.length - 4}`);
  return bytes.subarray(4);
}
