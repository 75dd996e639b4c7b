/**
 * JSON into a protobuf message as the agent does it: members that the message does not have are ignored, `null` counts as
 * unset, a member that it has must be of its type, and required ones must be there.
 */
export type Shape = Readonly<Record<string, Field>>;

interface Field {
  readonly type: 'string' | 'uint32' | 'map' | Shape;
  readonly repeated?: true;
  readonly required?: true;
}

type Message = Record<string, unknown>;

const UINT32_MAX = 2 ** 32 - 1;

export function fromJson(value: unknown, shape: Shape, at: string): Message {
  if (!isObject(value)) throw new Error(`${at}: expected an object`);
  const out: Message = {};
  for (const [name, field] of Object.entries(shape)) {
    const member = value[name];
    const where = `${at}.${name}`;
    if (member === undefined || member === null) {
      if (field.required === true) throw new Error(`${where}: missing required field`);
      if (field.repeated === true) out[name] = [];
    } else if (field.repeated === true) {
      if (!Array.isArray(member)) throw new Error(`${where}: expected an array`);
      out[name] = member.map((one, index) => single(one, field.type, `${where}[${index}]`));
    } else out[name] = single(member, field.type, where);
  }
  return out;
}

function single(value: unknown, type: Field['type'], at: string): unknown {
  if (typeof type === 'object') return fromJson(value, type, at);
  if (type === 'map') {
    if (!isObject(value) || !Object.values(value).every((one) => typeof one === 'string')) throw new Error(`${at}: expected an object of strings`);
    return value;
  }
  if (type === 'string') {
    if (typeof value !== 'string') throw new Error(`${at}: expected a string`);
    return value;
  }
  // The agent would cut a number that is too large, and go on with another one.
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > UINT32_MAX) throw new Error(`${at}: ${JSON.stringify(value)} is no uint32`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
