/**
 * Shapes of JSON values: what a definition may contain, written once. check-shape.ts checks a value against one, and
 * json-schema.ts writes the same for editors.
 */

export interface TextShape {
  readonly kind: 'text';
  readonly min?: number;
  readonly max?: number;
  /** Source of a regular expression that the whole text matches. */
  readonly pattern?: string;
  /** What the pattern means, for messages. */
  readonly expected?: string;
  readonly choices?: readonly string[];
}

export interface NumberShape {
  readonly kind: 'number';
  readonly integer: boolean;
  readonly min?: number;
  readonly max?: number;
}

export interface ListShape {
  readonly kind: 'list';
  readonly items: Shape;
  readonly min?: number;
  readonly max?: number;
  readonly unique?: boolean;
}

export interface RecordShape {
  readonly kind: 'record';
  readonly members: Readonly<Record<string, Member>>;
}

/** Members of any name, or of names that match, all of one shape. */
export interface MapShape {
  readonly kind: 'map';
  readonly values: Shape;
  readonly keys?: string;
}

/** One of several: by the JSON type of the value, and among records by the member that only one of them has. */
export interface ChoiceShape {
  readonly kind: 'choice';
  readonly plain: readonly Shape[];
  /** In this order: the first whose member is there; without any, `otherwise` says what is missing. */
  readonly records: ReadonlyArray<{ readonly mark: string; readonly shape: RecordShape }>;
}

export interface FlagShape {
  readonly kind: 'flag';
}

/** A shape that contains itself (groups). */
export interface LazyShape {
  readonly kind: 'lazy';
  readonly name: string;
  readonly shape: () => Shape;
}

export type Shape = TextShape | NumberShape | FlagShape | ListShape | RecordShape | MapShape | ChoiceShape | LazyShape;

export interface Member {
  readonly shape: Shape;
  readonly needed: boolean;
}

export const text = (limits: Omit<TextShape, 'kind'> = {}): TextShape => ({ kind: 'text', ...limits });
export const oneOf = (...choices: string[]): TextShape => ({ kind: 'text', choices });
export const number = (min?: number, max?: number): NumberShape => ({ kind: 'number', integer: false, ...limits(min, max) });
export const integer = (min?: number, max?: number): NumberShape => ({ kind: 'number', integer: true, ...limits(min, max) });
export const flag: FlagShape = { kind: 'flag' };
export const list = (items: Shape, more: Omit<ListShape, 'kind' | 'items'> = {}): ListShape => ({ kind: 'list', items, ...more });
export const map = (values: Shape, keys?: string): MapShape => ({ kind: 'map', values, ...(keys === undefined ? {} : { keys }) });
export const choice = (plain: readonly Shape[], records: Readonly<Record<string, RecordShape>> = {}): ChoiceShape => ({
  kind: 'choice',
  plain,
  records: Object.entries(records).map(([mark, shape]) => ({ mark, shape })),
});

/** `needed` members and members that may be absent. */
export function record(needed: Readonly<Record<string, Shape>>, optional: Readonly<Record<string, Shape>> = {}): RecordShape {
  const members = (shapes: Readonly<Record<string, Shape>>, isNeeded: boolean): Array<[string, Member]> => Object.entries(shapes).map(([name, shape]) => [name, { shape, needed: isNeeded }]);
  return { kind: 'record', members: Object.fromEntries([...members(needed, true), ...members(optional, false)]) };
}

/** The record with members added or replaced. */
export function extend(base: RecordShape, needed: Readonly<Record<string, Shape>>, optional: Readonly<Record<string, Shape>> = {}): RecordShape {
  return { kind: 'record', members: { ...base.members, ...record(needed, optional).members } };
}

function limits(min?: number, max?: number): { min?: number; max?: number } {
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
}
