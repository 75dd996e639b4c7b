/**
 * The bytes of the few protobuf messages that the agent checkpoints, from the field numbers alone, so that what we write
 * and read does not depend on anything that the product reads them with.
 *
 *     tag = number << 3 | wire type (0 varint, 2 bytes with their length before them); then the value
 */
export type Value = string | number | boolean | Fields | undefined;
/** `[field number, value]`, repeated fields one after another; undefined values are left out. */
export type Fields = ReadonlyArray<readonly [number, Value]>;

function varint(value: number): Buffer {
  const out: number[] = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) out.push((value % 128) | 0x80);
  return Buffer.from([...out, value]);
}

export function encode(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (value === undefined) return [];
      if (typeof value === 'number' || typeof value === 'boolean') return [varint(number << 3), varint(Number(value))];
      const bytes = typeof value === 'string' ? Buffer.from(value) : encode(value);
      return [varint((number << 3) | 2), varint(bytes.length), bytes];
    }),
  );
}

/** The values of a message by field number, in the order in which they stand. */
export class Decoded {
  readonly #values = new Map<number, Array<number | Buffer>>();

  constructor(bytes: Buffer) {
    for (let at = 0; at < bytes.length; ) {
      const varint = (): number => {
        for (let value = 0, scale = 1; ; scale *= 128) {
          const byte = bytes[at++];
          if (byte === undefined) throw new Error('a message ends inside a number');
          value += (byte & 0x7f) * scale;
          if (byte < 0x80) return value;
        }
      };
      const tag = varint();
      const value = varint();
      const list = this.#values.get(tag >>> 3) ?? [];
      this.#values.set(tag >>> 3, list);
      if ((tag & 7) === 0) list.push(value);
      else {
        if ((tag & 7) !== 2 || at + value > bytes.length) throw new Error('a message has a field that cannot be read');
        list.push(bytes.subarray(at, (at += value)));
      }
    }
  }

  strings(number: number): string[] {
    return this.#bytes(number).map((bytes) => bytes.toString());
  }

  string(number: number): string | undefined {
    return this.strings(number).at(-1);
  }

  messages(number: number): Decoded[] {
    return this.#bytes(number).map((bytes) => new Decoded(bytes));
  }

  message(number: number): Decoded | undefined {
    return this.messages(number).at(-1);
  }

  #bytes(number: number): Buffer[] {
    return (this.#values.get(number) ?? []).filter((value): value is Buffer => typeof value !== 'number');
  }
}
