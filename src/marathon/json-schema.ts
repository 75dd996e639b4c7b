/** JSON Schemas (draft 7, which editors know) of the definitions; schemas/*.json are written by it. */
import { SHAPES } from './documents';
import type { Kind } from './documents';
import type { Json, JsonObject } from './json-text';
import type { Shape } from './shape';

const TITLES: Readonly<Record<Kind, string>> = {
  app: 'A Marathon app, with images from CernVM-FS repositories',
  apps: 'A list of Marathon apps, with images from CernVM-FS repositories',
  pod: 'A Marathon pod, with images from CernVM-FS repositories',
  group: 'A group of Marathon apps, with images from CernVM-FS repositories',
};

export const SCHEMA_KINDS: readonly Kind[] = ['app', 'apps', 'pod', 'group'];

export function jsonSchema(kind: Kind): JsonObject {
  const definitions: Record<string, Json> = {};
  const schema = schemaOf(SHAPES[kind], definitions);
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: TITLES[kind], ...schema, ...(Object.keys(definitions).length === 0 ? {} : { definitions }) };
}

function schemaOf(shape: Shape, definitions: Record<string, Json>): JsonObject {
  const inner = (one: Shape): JsonObject => schemaOf(one, definitions);
  switch (shape.kind) {
    case 'text':
      return { type: 'string', ...given({ enum: shape.choices, minLength: shape.min, maxLength: shape.max, pattern: shape.pattern }) };
    case 'number':
      return { type: shape.integer ? 'integer' : 'number', ...given({ minimum: shape.min, maximum: shape.max }) };
    case 'flag':
      return { type: 'boolean' };
    case 'list':
      return { type: 'array', items: inner(shape.items), ...given({ minItems: shape.min, maxItems: shape.max, uniqueItems: shape.unique }) };
    case 'record': {
      const members = Object.entries(shape.members);
      const required = members.filter(([, { needed }]) => needed).map(([name]) => name);
      return { type: 'object', properties: Object.fromEntries(members.map(([name, member]) => [name, inner(member.shape)])), additionalProperties: false, ...(required.length === 0 ? {} : { required }) };
    }
    case 'map':
      return { type: 'object', additionalProperties: inner(shape.values), ...(shape.keys === undefined ? {} : { propertyNames: { pattern: shape.keys } }) };
    case 'choice': {
      // The member that marks a record is needed for it to be meant, whether or not the record could do without.
      const records = shape.records.map(({ mark, shape: one }) => inner({ ...one, members: { ...one.members, [mark]: { ...one.members[mark]!, needed: true } } }));
      return { anyOf: [...shape.plain.map(inner), ...records] };
    }
    case 'lazy':
      if (!Object.hasOwn(definitions, shape.name)) {
        definitions[shape.name] = true;
        definitions[shape.name] = inner(shape.shape());
      }
      return { $ref: `#/definitions/${shape.name}` };
  }
}

function given(values: Readonly<Record<string, Json | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]): Array<[string, Json]> => (value === undefined ? [] : [[name, value]])));
}
