/** What is wrong with a value, compared with a shape: every place at once, with the nearest name for a misspelt one. */
import { isDeepStrictEqual } from 'node:util';
import { suggest } from '../config/suggest';
import { pointerTo } from './json-text';
import type { Json, JsonObject } from './json-text';
import type { ChoiceShape, ListShape, NumberShape, RecordShape, Shape, TextShape } from './shape';

export interface Problem {
  /** JSON pointer of what is wrong; `''` is the whole document. */
  readonly pointer: string;
  readonly text: string;
  /** What to do, a sentence without a full stop. */
  readonly next?: string;
}

/** More are not told: who has that many has made the same mistake often. */
export const PROBLEMS_MAX = 100;

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function checkShape(value: Json, shape: Shape, pointer = ''): Problem[] {
  const problems: Problem[] = [];
  check(value, shape, pointer, problems);
  return problems.slice(0, PROBLEMS_MAX);
}

/** A value as a message shows it. */
export function shown(value: Json): string {
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'an object';
  return JSON.stringify(value).slice(0, 80);
}

function check(value: Json, shape: Shape, pointer: string, problems: Problem[]): void {
  if (problems.length >= PROBLEMS_MAX) return;
  const wrong = (text: string, next?: string): void => void problems.push({ pointer, text, ...(next === undefined ? {} : { next }) });
  switch (shape.kind) {
    case 'text':
      return checkText(value, shape, wrong);
    case 'number':
      return checkNumber(value, shape, wrong);
    case 'flag':
      if (typeof value !== 'boolean') wrong(`${shown(value)} is neither true nor false`);
      return;
    case 'list':
      return checkList(value, shape, pointer, problems, wrong);
    case 'record':
      return checkRecord(value, shape, pointer, problems, wrong);
    case 'map':
      if (!isObject(value)) return wrong(`${shown(value)} stands where an object is expected`);
      for (const [name, held] of Object.entries(value)) {
        if (shape.keys !== undefined && !new RegExp(shape.keys, 'u').test(name)) problems.push({ pointer: pointerTo(pointer, name), text: `the name ${JSON.stringify(name.slice(0, 80))} does not match ${shape.keys}` });
        check(held, shape.values, pointerTo(pointer, name), problems);
      }
      return;
    case 'choice':
      return checkChoice(value, shape, pointer, problems, wrong);
    case 'lazy':
      return check(value, shape.shape(), pointer, problems);
  }
}

type Wrong = (text: string, next?: string) => void;

function checkText(value: Json, { min, max, pattern, expected, choices }: TextShape, wrong: Wrong): void {
  if (typeof value !== 'string') return wrong(`${shown(value)} stands where a text is expected`);
  if (choices !== undefined) {
    if (choices.includes(value)) return;
    const near = suggest(value, choices);
    return wrong(`${shown(value)} is none of ${choices.join(', ')}`, near === undefined ? undefined : `did you mean ${near}?`);
  }
  // Characters, not units of UTF-16, as JSON Schema counts them.
  const { length } = [...value];
  if (min !== undefined && length < min) wrong(min === 1 ? 'is empty' : `has ${length} characters, and ${min} are needed`);
  else if (max !== undefined && length > max) wrong(`has ${length} characters, and ${max} are allowed`);
  else if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) wrong(`${shown(value)} is not ${expected ?? `of the form ${pattern}`}`);
}

function checkNumber(value: Json, { integer, min, max }: NumberShape, wrong: Wrong): void {
  if (typeof value !== 'number') return wrong(`${shown(value)} stands where ${integer ? 'a whole number' : 'a number'} is expected`);
  if (integer && !Number.isInteger(value)) wrong(`${value} is not a whole number`);
  else if (min !== undefined && value < min) wrong(`${value} is less than ${min}`);
  else if (max !== undefined && value > max) wrong(`${value} is more than ${max}`);
}

function checkList(value: Json, { items, min, max, unique }: ListShape, pointer: string, problems: Problem[], wrong: Wrong): void {
  if (!Array.isArray(value)) return wrong(`${shown(value)} stands where a list is expected`);
  if (min !== undefined && value.length < min) wrong(`has ${value.length} elements, and ${min} are needed`);
  if (max !== undefined && value.length > max) wrong(`has ${value.length} elements, and ${max} are allowed`);
  value.forEach((element: Json, at) => {
    const place = pointerTo(pointer, at);
    if (unique === true && value.findIndex((other) => isDeepStrictEqual(other, element)) < at) problems.push({ pointer: place, text: 'stands in the list twice' });
    check(element, items, place, problems);
  });
}

function checkRecord(value: Json, { members }: RecordShape, pointer: string, problems: Problem[], wrong: Wrong): void {
  if (!isObject(value)) return wrong(`${shown(value)} stands where an object is expected`);
  for (const [name, held] of Object.entries(value)) {
    const member = Object.hasOwn(members, name) ? members[name] : undefined;
    if (member !== undefined) {
      check(held, member.shape, pointerTo(pointer, name), problems);
      continue;
    }
    const near = suggest(name, Object.keys(members));
    problems.push({ pointer: pointerTo(pointer, name), text: 'unknown member', next: near === undefined ? `known are ${Object.keys(members).join(', ')}` : `did you mean ${near}?` });
  }
  for (const [name, { needed }] of Object.entries(members)) if (needed && !Object.hasOwn(value, name)) wrong(`the member ${name} is missing`);
}

function checkChoice(value: Json, { plain, records }: ChoiceShape, pointer: string, problems: Problem[], wrong: Wrong): void {
  if (isObject(value) && records.length > 0) {
    const found = records.find(({ mark }) => Object.hasOwn(value, mark));
    if (found !== undefined) return check(value, found.shape, pointer, problems);
    const marks = records.map(({ mark }) => mark);
    const known = [...new Set(records.flatMap(({ shape }) => Object.keys(shape.members)))];
    for (const name of Object.keys(value).filter((one) => !known.includes(one))) {
      const near = suggest(name, known);
      problems.push({ pointer: pointerTo(pointer, name), text: 'unknown member', ...(near === undefined ? {} : { next: `did you mean ${near}?` }) });
    }
    return wrong(marks.length === 1 ? `the member ${marks[0]} is missing` : `one of the members ${marks.join(', ')} is needed`);
  }
  const attempts = plain.map((shape) => checkShape(value, shape, pointer));
  if (attempts.some((found) => found.length === 0)) return;
  if (attempts.length === 1) problems.push(...attempts[0]!);
  else wrong(`${shown(value)} is not what may stand here`, `see docs/marathon.md`);
}
