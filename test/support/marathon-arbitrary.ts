/** Definitions made up by fast-check: from our shapes, and from the facts of Marathon's API. */
import * as fc from 'fast-check';
import type { Shape } from '../../src/marathon/shape';
import { MARATHON_TYPES } from './marathon-definitions';
import type { TypeFact } from './marathon-definitions';

const DEPTH = 12;
const TEXT = fc.oneof(fc.string({ maxLength: 8 }), fc.string({ unit: 'grapheme', maxLength: 8 }), fc.constantFrom('__proto__', 'constructor', ' ', '\\', '"', '/', '~'));
const INSTANT = fc.constantFrom('2024-01-31T12:00:00.000Z', '2021-07-27T00:00:00.123+02:00');
const ID = fc.stringMatching(/^(\/[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?){1,3}$/);

function words(pattern: string | undefined, min = 0, max = 20): fc.Arbitrary<string> {
  if (pattern === undefined) return TEXT.filter((value) => [...value].length >= min);
  if (pattern.includes('\\.\\.')) return ID;
  if (pattern.includes('T[0-9')) return INSTANT;
  return fc.stringMatching(new RegExp(pattern.replace('*[a-z0-9])?$', '{0,5}[a-z0-9])?$').replace('{0,253}?', '{0,5}').replace('{0,253}', '{0,5}'))).filter((value) => value.length >= min && value.length <= max && new RegExp(pattern, 's').test(value));
}

const whole = (min = -1000, max = min + 5000): fc.Arbitrary<number> => fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max));
const real = (min = -1000, max = min + 5000): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);

/** Members in any order, which a translation has to keep. */
function members(shapes: Readonly<Record<string, fc.Arbitrary<unknown>>>, needed: readonly string[]): fc.Arbitrary<Record<string, unknown>> {
  const names = Object.keys(shapes);
  return fc
    .tuple(fc.shuffledSubarray(names, { maxLength: Math.min(names.length, 6) }), fc.shuffledSubarray([...needed], { minLength: needed.length }))
    .chain(([some, all]) => {
      const chosen = [...new Set([...some, ...all])];
      return fc.tuple(...chosen.map((name) => shapes[name]!)).map((values) => Object.fromEntries(chosen.map((name, at) => [name, values[at]])));
    });
}

/** A value that the shape allows. */
export function ofShape(shape: Shape, depth = 0): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'text':
      return shape.choices === undefined ? words(shape.pattern, shape.min, shape.max) : fc.constantFrom(...shape.choices);
    case 'number':
      return shape.integer ? whole(shape.min, shape.max) : real(shape.min, shape.max);
    case 'flag':
      return fc.boolean();
    case 'list':
      return several(ofShape(shape.items, depth + 1), shape.min, shape.max, shape.unique, depth);
    case 'map':
      return fc.dictionary(words(shape.keys), ofShape(shape.values, depth + 1), { maxKeys: 3 });
    case 'record': {
      const needed = Object.keys(shape.members).filter((name) => shape.members[name]!.needed);
      return members(Object.fromEntries(Object.entries(shape.members).map(([name, member]) => [name, ofShape(member.shape, depth + 1)])), needed);
    }
    case 'choice':
      return fc.oneof(...shape.plain.map((one) => ofShape(one, depth + 1)), ...shape.records.map(({ mark, shape: one }) => ofShape({ ...one, members: { ...one.members, [mark]: { ...one.members[mark]!, needed: true } } }, depth + 1)));
    case 'lazy':
      return depth > DEPTH / 2 ? fc.constant({ id: '/deep' }) : ofShape(shape.shape(), depth + 4);
  }
}

function several(item: fc.Arbitrary<unknown>, min = 0, max = 3, unique = false, depth = 0): fc.Arbitrary<unknown[]> {
  const limits = { minLength: min, maxLength: Math.max(min, Math.min(max, depth > DEPTH ? min : 3)) };
  return unique ? fc.uniqueArray(item, { ...limits, selector: (value) => JSON.stringify(value) }) : fc.array(item, limits);
}

/** A value that Marathon's definition of a type allows. */
export function ofFact(fact: TypeFact, depth = 0): fc.Arbitrary<unknown> {
  if (typeof fact === 'string') {
    if (fact === '#GroupUpdate' && depth > DEPTH / 2) return fc.constant({ id: '/deep' });
    if (fact.startsWith('#')) return ofFact(MARATHON_TYPES[fact.slice(1)]!, depth + (fact === '#GroupUpdate' ? 4 : 1));
    if (fact === 'datetime') return INSTANT;
    return fact === 'string' ? TEXT : fact === 'boolean' ? fc.boolean() : fact === 'integer' ? whole() : real();
  }
  if ('union' in fact) return fc.oneof(...fact.union.map((one) => ofFact(one, depth + 1)));
  if ('array' in fact) return several(ofFact(fact.array, depth + 1), fact.minItems, fact.maxItems, fact.unique, depth);
  if ('object' in fact) {
    const [pattern] = Object.entries(fact.patterns ?? {}).filter(([, held]) => held !== 'nil');
    if (pattern !== undefined) return fc.dictionary(pattern[0].includes('*') ? TEXT : words(pattern[0]), ofFact(pattern[1], depth + 1), { maxKeys: 3 });
    const names = Object.keys(fact.object);
    const shapes = Object.fromEntries(names.map((name) => [name.replace(/\?$/, ''), ofFact(fact.object[name]!, depth + 1)]));
    return members(shapes, names.filter((name) => !name.endsWith('?')));
  }
  if (fact.enum !== undefined) return fc.constantFrom(...fact.enum);
  if (fact.type === 'integer') return whole(fact.min, fact.max);
  if (fact.type === 'number') return real(fact.min, fact.max);
  if (fact.type === 'string') return words(fact.pattern, fact.minLength, fact.maxLength);
  return ofFact(fact.type, depth + 1);
}
