/**
 * Checks the bytes of a request against the shape of its message before they are decoded. A protobuf decoder forgives too
 * much to be a border: a required enum that is absent or has no name arrives as its first value (an image of no type would
 * be APPC), required members inside a member are not asked for, a member given twice keeps one of the two, and a string
 * that is not UTF-8 changes (two container ids could become one).
 *
 *   message := (tag value)*        tag := varint(number << 3 | wire type)
 *   wire 0  varint, at most 10 bytes      wire 1  8 bytes      wire 5  4 bytes
 *   wire 2  varint length, then that many bytes: string, bytes, message, map entry {1: key, 2: value}
 *
 * Unknown numbers are skipped, as protobuf's rules for evolving a message want. Groups (wire 3 and 4) are refused: none of
 * our contracts, nor Mesos', has any.
 */
import { isUtf8 } from 'node:buffer';
import { Failure } from '../../src/error';

/** Largest request, bytes: Recover with ten thousand nested containers fits. */
export const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
/** Messages inside each other; with it, containers nest at most 32 deep. */
export const MAX_REQUEST_DEPTH = 32;

/** One field of a message. */
export interface FieldShape {
  readonly name: string;
  /** Type name as in the contract; `enum` and `message` for those. */
  readonly type: string;
  /** With `enum`: the names by number. */
  readonly values?: Readonly<Record<number, string>>;
  /** With `message`: key of its shape. */
  readonly message?: string;
  readonly required?: boolean;
  readonly repeated?: boolean;
}

/** The fields of a message by number. */
export type MessageShape = Readonly<Record<number, FieldShape>>;

const WIRE: Readonly<Record<string, number>> = { double: 1, fixed64: 1, sfixed64: 1, string: 2, bytes: 2, message: 2, float: 5, fixed32: 5, sfixed32: 5 };
const wireOf = (field: FieldShape): number => WIRE[field.type] ?? 0;

const refuse = (what: string, next?: string): Failure => new Failure('INVALID_ARGUMENT', what, next === undefined ? {} : { next });

/** A view of the bytes that one message takes. */
class Wire {
  constructor(
    private readonly bytes: Buffer,
    private at: number,
    private readonly end: number,
    private readonly path: string,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  /** A tag or a length: what takes more than 32 bits, decoders disagree on. */
  uint32(): number {
    const from = this.at;
    const value = this.varint() >>> 0;
    if (this.at - from > 5 || (this.at - from === 5 && this.bytes[this.at - 1]! > 0x0f)) throw refuse(`${this.path}: a tag or length of more than 32 bits`, 'the request is not protobuf');
    return value;
  }

  /** The low 32 bits, signed, which is what decoders make of an enum. */
  varint(): number {
    let low = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.at < this.end ? this.bytes[this.at++] : undefined;
      if (byte === undefined) throw this.cut();
      if (i < 5) low |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return low;
    }
    throw refuse(`${this.path}: a number of more than 10 bytes`, 'the request is not protobuf');
  }

  /** Where the next `length` bytes begin; they are consumed. */
  take(length: number): number {
    const from = this.at;
    if (length > this.end - from) throw this.cut();
    this.at = from + length;
    return from;
  }

  private cut(): Failure {
    return refuse(`${this.path}: the bytes end in the middle of a field`, 'the request is not protobuf, or was cut off');
  }
}

function expected(field: FieldShape): string | undefined {
  return field.values === undefined ? undefined : `expected one of ${Object.values(field.values).join(', ')}`;
}

function checkMessage(shapes: Readonly<Record<string, MessageShape>>, name: string, bytes: Buffer, from: number, end: number, path: string, depth: number): void {
  const shape = shapes[name];
  if (shape === undefined) throw new Failure('INTERNAL', `no shape is known for the message ${name}`, { next: 'run node proto/generate.js' });
  if (depth > MAX_REQUEST_DEPTH) throw refuse(`${path}: messages nest deeper than ${MAX_REQUEST_DEPTH}`);
  const wire = new Wire(bytes, from, end, path);
  const seen = new Map<number, number>();
  while (!wire.done) {
    const tag = wire.uint32();
    const number = tag >>> 3;
    const type = tag & 7;
    const field = shape[number];
    const at = field === undefined ? `${path}.#${number}` : `${path}.${field.name}`;
    if (number === 0 || type === 3 || type === 4 || type > 5) throw refuse(`${at}: wire type ${type} is not allowed`, 'the request is not protobuf');
    if (field !== undefined && type !== wireOf(field)) throw refuse(`${at}: is a ${field.type}, but came with wire type ${type}`, 'use the contracts in proto/');
    const times = seen.get(number) ?? 0;
    seen.set(number, times + 1);
    if (type === 0) {
      const value = wire.varint();
      if (field?.values !== undefined && field.values[value] === undefined) throw refuse(`${at}: ${value} is not known`, expected(field));
    } else if (type !== 2) {
      wire.take(type === 1 ? 8 : 4);
    } else {
      const length = wire.uint32();
      const start = wire.take(length);
      if (field?.type === 'string' && !isUtf8(bytes.subarray(start, start + length))) throw refuse(`${at}: is not UTF-8`, 'percent-encode other bytes where the contract says so');
      if (field?.message === undefined) continue;
      if (times > 0 && field.repeated !== true) throw refuse(`${at}: is given twice`);
      checkMessage(shapes, field.message, bytes, start, start + length, field.repeated === true ? `${at}[${times}]` : at, depth + 1);
    }
  }
  for (const [number, field] of Object.entries(shape)) {
    if (field.required === true && !seen.has(Number(number))) throw refuse(`${path}.${field.name}: is required and absent`, expected(field));
  }
}

/**
 * Refuses bytes that are not a sound message of that name: INVALID_ARGUMENT names the field by its path from the request,
 * such as `ProvisionRequest.container_id.parent.value`; RESOURCE_EXHAUSTED beyond `MAX_REQUEST_BYTES`.
 */
export function checkRequest(shapes: Readonly<Record<string, MessageShape>>, message: string, bytes: Buffer): void {
  const path = message.slice(message.lastIndexOf('.') + 1);
  if (bytes.length > MAX_REQUEST_BYTES) throw new Failure('RESOURCE_EXHAUSTED', `${path}: ${bytes.length} bytes, and ${MAX_REQUEST_BYTES} are allowed`);
  checkMessage(shapes, message, bytes, 0, bytes.length, path, 0);
}
