/**
 * JSON with the place of every value and member in its text, for messages that name line and column. Stricter than
 * JSON.parse where a definition would silently mean something else than it says: a member that stands twice, and a number
 * that JavaScript cannot hold exactly, are errors.
 */
import { Failure } from '../error';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [member: string]: Json;
}

/** Counted from 1, in characters of the line. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface JsonText {
  readonly value: Json;
  /** Where the value at a pointer begins, or its name where it is a member; of what is not there, the nearest around it. */
  placeOf(pointer: string): Place;
}

/** Longest text, characters: Marathon's own store takes no definition of more than a megabyte. */
export const JSON_CHARACTERS_MAX = 4 * 1024 * 1024;
const DEPTH_MAX = 100;

/** One more step of a JSON pointer (RFC 6901). */
export function pointerTo(parent: string, step: string | number): string {
  return `${parent}/${String(step).replace(/~/g, '~0').replace(/\//g, '~1')}`;
}

/** Throws INVALID_ARGUMENT naming file, line and column. */
export function parseJsonText(text: string, file: string): JsonText {
  if (text.length > JSON_CHARACTERS_MAX) throw new Failure('INVALID_ARGUMENT', `${file} has ${text.length} characters, and ${JSON_CHARACTERS_MAX} are allowed`);
  return new Reader(text, file).read();
}

class Reader {
  private at = 0;
  private readonly offsets = new Map<string, number>();

  constructor(
    private readonly text: string,
    private readonly file: string,
  ) {}

  read(): JsonText {
    // An editor's byte order mark is no part of the document.
    if (this.text.startsWith('\uFEFF')) this.at = 1;
    const value = this.value('', 0);
    this.blanks();
    if (this.at < this.text.length) throw this.wrong('something follows the end of the document');
    return {
      value,
      placeOf: (pointer) => {
        for (let step = pointer; ; step = step.slice(0, step.lastIndexOf('/'))) {
          const offset = this.offsets.get(step);
          if (offset !== undefined) return this.place(offset);
        }
      },
    };
  }

  private value(pointer: string, depth: number): Json {
    this.blanks();
    if (!this.offsets.has(pointer)) this.offsets.set(pointer, this.at);
    if (depth > DEPTH_MAX) throw this.wrong(`more than ${DEPTH_MAX} levels`);
    const first = this.text[this.at];
    if (first === '{') return this.object(pointer, depth);
    if (first === '[') return this.array(pointer, depth);
    if (first === '"') return this.string();
    for (const [word, value] of [['true', true], ['false', false], ['null', null]] as const) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value;
    }
    return this.number();
  }

  private object(pointer: string, depth: number): JsonObject {
    const members = new Map<string, Json>();
    this.at += 1;
    this.blanks();
    if (this.take('}')) return {};
    do {
      this.blanks();
      const begin = this.at;
      if (this.text[begin] !== '"') throw this.wrong('a member name in double quotes is expected');
      const name = this.string();
      if (members.has(name)) throw this.wrong(`the member ${JSON.stringify(name)} stands here twice`, begin);
      const inner = pointerTo(pointer, name);
      this.offsets.set(inner, begin);
      this.blanks();
      if (!this.take(':')) throw this.wrong('a colon is expected after the name of a member');
      members.set(name, this.value(inner, depth + 1));
      this.blanks();
    } while (this.take(','));
    if (!this.take('}')) throw this.wrong('a comma or } is expected');
    // Unlike an assignment this makes `__proto__` a member as any other.
    return Object.fromEntries(members);
  }

  private array(pointer: string, depth: number): Json[] {
    const elements: Json[] = [];
    this.at += 1;
    this.blanks();
    if (this.take(']')) return elements;
    do {
      elements.push(this.value(pointerTo(pointer, elements.length), depth + 1));
      this.blanks();
    } while (this.take(','));
    if (!this.take(']')) throw this.wrong('a comma or ] is expected');
    return elements;
  }

  private string(): string {
    const begin = this.at;
    for (let end = begin + 1; end < this.text.length; end++) {
      const character = this.text[end]!;
      if (character < ' ') throw this.wrong('a text has no end on its line, or a control character in it', end);
      if (character === '\\') end += 1;
      else if (character === '"') {
        this.at = end + 1;
        try {
          return JSON.parse(this.text.slice(begin, this.at)) as string;
        } catch {
          throw this.wrong('a text with a \\ that begins no escape', begin);
        }
      }
    }
    throw this.wrong('a text has no end', begin);
  }

  private number(): number {
    const pattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match === null) throw this.wrong(this.at >= this.text.length ? 'the document ends too early' : 'a value is expected; comments and single quotes are no JSON');
    const value = Number(match[0]);
    const whole = match[1] === undefined && match[2] === undefined;
    if (!Number.isFinite(value) || (whole && !Number.isSafeInteger(value))) throw this.wrong(`${match[0].slice(0, 40)} is too large a number`);
    this.at += match[0].length;
    return value;
  }

  private blanks(): void {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at += 1;
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  private place(offset: number): Place {
    const before = this.text.slice(0, offset);
    return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') };
  }

  private wrong(why: string, offset = this.at): Failure {
    const { line, column } = this.place(offset);
    return new Failure('INVALID_ARGUMENT', `${this.file}:${line}:${column}: ${why}`, { next: 'correct the JSON', data: { file: this.file, line, column } });
  }
}
