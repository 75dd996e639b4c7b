/** Our shapes, Marathon's own definitions and the JSON Schemas allow the same: compared by values made up from each. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as fc from 'fast-check';
import { isFqrn } from '../../../src/config/repository-config';
import { checkShape, isObject } from '../../../src/marathon/check-shape';
import { SHAPES } from '../../../src/marathon/documents';
import { jsonSchema, SCHEMA_KINDS } from '../../../src/marathon/json-schema';
import type { Json } from '../../../src/marathon/json-text';
import { appImage } from '../../../src/marathon/definitions-cvmfs';
import { marathonRefuses } from '../../support/marathon-checker';
import { ofFact, ofShape } from '../../support/marathon-arbitrary';

const TOP = path.resolve(__dirname, '../../..');
const KINDS = [['app', 'App'], ['pod', 'Pod'], ['group', 'GroupUpdate']] as const;

/** As JSON carries it: no -0, no members of a prototype. */
const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

/** Whether anything in it is ours, or an image of a pod that is. */
function ours(value: Json): boolean {
  if (Array.isArray(value)) return value.some(ours);
  if (!isObject(value)) return false;
  return Object.hasOwn(value, 'cvmfs') || value['kind'] === 'CVMFS' || ('kind' in value && Object.hasOwn(value, 'repository')) || Object.values(value).some(ours);
}

describe.each(KINDS)('%s', (kind, type) => {
  it('allows what Marathon allows', () => {
    fc.assert(
      fc.property(ofFact(`#${type}`), (given) => {
        expect(checkShape(plain(given), SHAPES[kind])).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });

  it('allows nothing that Marathon refuses or drops, but for images from repositories', () => {
    fc.assert(
      fc.property(ofShape(SHAPES[kind]), (given) => {
        const value = plain(given);
        fc.pre(!ours(value));
        // Rules between members are not the matter of shapes.
        expect(marathonRefuses(value, type).filter((problem) => !/^(app|pod) /.test(problem))).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });
});

it('names of repositories are those of the configuration', () => {
  const allowed = (repository: string): boolean => checkShape({ image: 'x', repository }, appImage).length === 0;
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_', '/', 'é', ' '), maxLength: 62 }), (name) => allowed(name) === isFqrn(name)), { numRuns: 800 });
  for (const length of [59, 60, 61]) expect(allowed('a'.repeat(length))).toBe(isFqrn('a'.repeat(length)));
});

describe('schemas', () => {
  const schemaFile = (kind: string): string => path.join(TOP, `schemas/marathon-${kind}.schema.json`);

  it.each(SCHEMA_KINDS)('of %s is what the shapes say (UPDATE_DOCS=1 writes it anew)', (kind) => {
    const text = `${JSON.stringify(jsonSchema(kind), null, 2)}\n`;
    if (process.env['UPDATE_DOCS'] !== undefined) fs.writeFileSync(schemaFile(kind), text);
    expect(fs.readFileSync(schemaFile(kind), 'utf8')).toBe(text);
  });

  // eslint brings a validator for JSON Schemas with it.
  const Ajv = require(require.resolve('ajv', { paths: [require.resolve('eslint')] })) as new (options: object) => { compile(schema: object): (value: unknown) => boolean };
  const validate = Object.fromEntries(SCHEMA_KINDS.map((kind) => [kind, new Ajv({ allErrors: false }).compile(jsonSchema(kind))]));

  it.each(SCHEMA_KINDS)('of %s and the validator say the same of right and of damaged definitions', (kind) => {
    let right = 0;
    let wrong = 0;
    fc.assert(
      fc.property(ofShape(SHAPES[kind]), fc.nat(), fc.constantFrom('rename', 'drop', 'null', 'text', 'number', 'list', 'object', 'none'), (given, which, damage) => {
        const value = damaged(plain(given), which, damage);
        const fits = checkShape(value, SHAPES[kind]).length === 0;
        if (fits) right += 1;
        else wrong += 1;
        expect(validate[kind]!(value)).toBe(fits);
      }),
      { numRuns: 250 },
    );
    expect(right).toBeGreaterThan(20);
    expect(wrong).toBeGreaterThan(20);
  });
});

/** One member or element of the document renamed, dropped or replaced. */
function damaged(value: Json, which: number, damage: string): Json {
  const places: Array<{ holder: Record<string, Json> | Json[]; name: string }> = [];
  const walk = (one: Json): void => {
    if (typeof one !== 'object' || one === null) return;
    for (const [name, held] of Object.entries(one)) {
      places.push({ holder: one as Record<string, Json>, name });
      walk(held);
    }
  };
  walk(value);
  const place = places[which % Math.max(1, places.length)];
  if (place === undefined || damage === 'none') return value;
  const holder = place.holder as Record<string, Json>;
  const held = holder[place.name]!;
  if (damage === 'drop' || damage === 'rename') {
    if (Array.isArray(holder)) holder.splice(Number(place.name), 1);
    else delete holder[place.name];
    if (damage === 'rename' && !Array.isArray(holder)) holder[`${place.name}x`] = held;
  } else holder[place.name] = { null: null, text: 'Other text', number: -7.5, list: [], object: {} }[damage] ?? null;
  return value;
}
