/** A whole document, checked and translated, or taken back. */
import { Failure } from '../error';
import { checkShape, isObject, PROBLEMS_MAX } from './check-shape';
import { kindOf, mapApps, SHAPES } from './documents';
import type { Kind } from './documents';
import { checkFacade, DEFAULT_FACADE } from './image-name';
import { parseJsonText } from './json-text';
import type { Json, Place } from './json-text';
import { checkRules } from './rules';
import { translateApp, untranslateApp } from './translate-app';
import { translatePod, untranslatePod } from './translate-pod';

/** A problem with its place in the file. */
export interface PlacedProblem extends Place {
  readonly pointer: string;
  readonly text: string;
  readonly next: string | null;
}

export interface Definition {
  readonly kind: Kind;
  readonly value: Json;
  /** In the order of the file; a definition with none may be translated. */
  readonly problems: readonly PlacedProblem[];
}

/** Reads and checks a file's text. INVALID_ARGUMENT when it is no JSON; what is wrong in it are its problems. */
export function readDefinition(text: string, file: string, facade = DEFAULT_FACADE): Definition {
  const { value, placeOf } = parseJsonText(text, file);
  const kind = kindOf(value);
  const shapes = checkShape(value, SHAPES[kind]);
  // Rules count on the shape of what they look at.
  const found = shapes.length > 0 ? shapes : checkRules(value, kind, checkFacade(facade));
  const problems = found.slice(0, PROBLEMS_MAX).map(({ pointer, text: what, next }) => ({ ...placeOf(pointer), pointer, text: what, next: next ?? null }));
  return { kind, value, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** `app.json:12:9: /container/cvmfs/pth: unknown member; did you mean path?` */
export function problemLine(file: string, { line, column, pointer, text, next }: PlacedProblem): string {
  return `${file}:${line}:${column}: ${pointer === '' ? '' : `${pointer}: `}${text}${next === null ? '' : `; ${next}`}`;
}

/** What stock Marathon takes. INVALID_ARGUMENT with all problems. */
export function translate(text: string, file: string, facade = DEFAULT_FACADE): { readonly kind: Kind; readonly value: Json } {
  const { kind, value, problems } = readDefinition(text, file, facade);
  if (problems.length > 0) throw new Failure('INVALID_ARGUMENT', problems.map((problem) => problemLine(file, problem)).join('\n'), { data: { file, problems: problems.length } });
  if (kind === 'pod') return { kind, value: isObject(value) ? translatePod(value, facade) : value };
  return { kind, value: mapApps(value, kind, (app) => translateApp(app, facade)) };
}

/** The original of what `translate` wrote, also when Marathon has answered it meanwhile. */
export function translateBack(text: string, file: string): { readonly kind: Kind; readonly value: Json } {
  const { value: given } = parseJsonText(text, file);
  // Marathon answers one app as {"app": …}.
  const value = isObject(given) && isObject(given['app']) && Object.keys(given).length === 1 ? given['app'] : given;
  const kind = kindOf(value);
  if (kind === 'pod') return { kind, value: isObject(value) ? untranslatePod(value) : value };
  return { kind, value: mapApps(value, kind, (app, pointer) => untranslateApp(app, pointer)) };
}
