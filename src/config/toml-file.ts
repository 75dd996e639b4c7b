/**
 * A TOML text with the line of each key, which the parser does not tell. Lines are found by reading the text once more,
 * headers and left-hand sides only; inside a multi-line string that looks like TOML a line may be wrong, a value never.
 */
import { parse, TomlError } from 'smol-toml';
import { Failure } from '../error';

export interface TomlFile {
  readonly data: Readonly<Record<string, unknown>>;
  /** Line of a key, or of the nearest table that holds it, from 1. */
  lineOf(path: readonly string[]): number | undefined;
}

const KEY = String.raw`(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')`;
const DOTTED = `${KEY}(?:[ \\t]*\\.[ \\t]*${KEY})*`;
const HEADER = new RegExp(`^\\s*\\[\\[?\\s*(${DOTTED})\\s*\\]\\]?\\s*(?:#.*)?$`);
const ASSIGNMENT = new RegExp(`^\\s*(${DOTTED})\\s*=`);
const SEPARATOR = '\0';

/** Throws CONFIG_INVALID naming file, line and column. */
export function parseToml(text: string, file: string): TomlFile {
  let data: Record<string, unknown>;
  try {
    data = parse(text, { maxDepth: 16, unsafeKeyBehaviour: 'throw' });
  } catch (error) {
    if (!(error instanceof TomlError)) throw new Failure('CONFIG_INVALID', `${file} is not TOML`, { cause: error });
    const reason = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    throw new Failure('CONFIG_INVALID', `${file}:${error.line}:${error.column}: ${reason}`, { next: 'texts need quotes, see docs/configuration.md', data: { file, line: error.line } });
  }
  const lines = locate(text);
  return {
    data,
    lineOf(path) {
      for (let length = path.length; length > 0; length--) {
        const line = lines.get(path.slice(0, length).join(SEPARATOR));
        if (line !== undefined) return line;
      }
      return undefined;
    },
  };
}

function locate(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const note = (path: readonly string[], line: number): void => {
    for (let length = 1; length <= path.length; length++) {
      const key = path.slice(0, length).join(SEPARATOR);
      if (length === path.length || !lines.has(key)) lines.set(key, line);
    }
  };
  let table: string[] = [];
  text.split('\n').forEach((content, index) => {
    const header = HEADER.exec(content)?.[1];
    if (header !== undefined) {
      table = keyPath(header);
      note(table, index + 1);
      return;
    }
    const left = ASSIGNMENT.exec(content)?.[1];
    if (left !== undefined) note([...table, ...keyPath(left)], index + 1);
  });
  return lines;
}

/** `repositories."a.b".servers` as its parts, by the parser itself. */
function keyPath(dotted: string): string[] {
  const path: string[] = [];
  try {
    let value: unknown = parse(`${dotted} = 0`);
    while (typeof value === 'object' && value !== null) {
      const key: string = Object.keys(value)[0]!;
      path.push(key);
      value = (value as Record<string, unknown>)[key];
    }
  } catch {
    // Not a key after all: a line of a multi-line text.
  }
  return path;
}
