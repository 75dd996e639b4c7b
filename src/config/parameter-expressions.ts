/**
 * The words of a CVMFS parameter file: a part of the shell's language, read without a shell.
 *
 *   word   any run of  plain  'literal'  "with $expansion"  \x  $NAME  ${NAME}  ${NAME:-default}
 *
 * What would run a program, `$(hostname)` or backquotes, is refused by `Unsupported`; the caller adds file and line.
 */

/** A construct that only a shell can do. The message says which, and the cure. */
export class Unsupported extends Error {}

export type Lookup = (name: string) => string | undefined;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
/** A word that doubles itself again and again would fill the memory: A="$A$A". */
const MAX_WORD_CHARACTERS = 64 * 1024;

/** Splits a line into words, with expansions done and quotes removed; operators `; && || ! [ ]` are words of their own when they stand alone. */
export function words(line: string, lookup: Lookup): string[] {
  const found: string[] = [];
  let at = 0;
  while (at < line.length) {
    if (/\s/.test(line[at]!)) {
      at += 1;
    } else if (line[at] === '#') {
      break;
    } else if (line[at] === ';') {
      found.push(';');
      at += 1;
    } else if (line.startsWith('&&', at) || line.startsWith('||', at)) {
      found.push(line.slice(at, at + 2));
      at += 2;
    } else {
      const { text, end } = word(line, at, lookup);
      found.push(text);
      at = end;
    }
  }
  return found;
}

function word(line: string, start: number, lookup: Lookup): { text: string; end: number } {
  let text = '';
  let at = start;
  const take = (piece: string, length: number): void => {
    text += piece;
    at += length;
    if (text.length > MAX_WORD_CHARACTERS) throw new Unsupported(`a value is longer than ${MAX_WORD_CHARACTERS} characters`);
  };
  while (at < line.length && !/[\s;]/.test(line[at]!)) {
    const character = line[at]!;
    if (character === "'") {
      const close = line.indexOf("'", at + 1);
      if (close < 0) throw new Unsupported("a quote ' is not closed on its line; join the lines, or end them with a backslash");
      take(line.slice(at + 1, close), close + 1 - at);
    } else if (character === '"') {
      at += 1;
      while (line[at] !== '"') {
        if (at >= line.length) throw new Unsupported('a quote " is not closed on its line; join the lines, or end them with a backslash');
        if (line[at] === '\\' && /["\\$`]/.test(line[at + 1] ?? '')) take(line[at + 1]!, 2);
        else if (line[at] === '$') takeExpansion(line, at, lookup, take);
        else if (line[at] === '`') throw substitution();
        else take(line[at]!, 1);
      }
      at += 1;
    } else if (character === '\\') {
      take(line[at + 1] ?? '', 2);
    } else if (character === '$') {
      takeExpansion(line, at, lookup, take);
    } else if (character === '`') {
      throw substitution();
    } else if (/[&|<>()]/.test(character)) {
      // In a shell these end the word and run, pipe or redirect something: here surely a value that wants quotes.
      throw new Unsupported(`the character ${character} outside quotes; put the value in quotes`);
    } else {
      take(character, 1);
    }
  }
  return { text, end: at };
}

function takeExpansion(line: string, at: number, lookup: Lookup, take: (piece: string, length: number) => void): void {
  const rest = line.slice(at + 1);
  if (rest.startsWith('(')) throw substitution();
  const plain = NAME.exec(rest);
  if (plain !== null) return take(lookup(plain[0]) ?? '', 1 + plain[0].length);
  if (!rest.startsWith('{')) return take('$', 1);
  const braced = /^\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}"'`\\]*))?\}/.exec(rest);
  if (braced === null) throw new Unsupported('an expansion other than ${NAME} and ${NAME:-default}; write the value itself');
  const value = lookup(braced[1]!);
  take((value === undefined || value === '') && braced[2] !== undefined ? braced[2] : (value ?? ''), 1 + braced[0].length);
}

function substitution(): Unsupported {
  return new Unsupported('a command substitution $(…), which would need a shell; write the value itself');
}

/**
 * Decides `[ a = b ]`, `!=`, `==`, `-z`, `-n`, a leading `!`, and several tests joined by `&&` and `||` from left to right.
 * `tested` are the words between `if` and `then`.
 */
export function condition(tested: readonly string[]): boolean {
  let result: boolean | undefined;
  let joint: string | undefined;
  let at = 0;
  while (at < tested.length) {
    let negated = false;
    while (tested[at] === '!') {
      negated = !negated;
      at += 1;
    }
    const close = tested.indexOf(']', at);
    if (tested[at] !== '[' || close < 0) throw badTest();
    const value = negated !== test(tested.slice(at + 1, close));
    result = result === undefined ? value : joint === '&&' ? result && value : result || value;
    at = close + 1;
    joint = tested[at];
    if (joint === undefined) return result;
    if (joint !== '&&' && joint !== '||') throw badTest();
    at += 1;
  }
  throw badTest();
}

function test(given: readonly string[]): boolean {
  if (given[0] === '!' && given.length > 1) return !test(given.slice(1));
  if (given.length === 1) return given[0] !== '';
  if (given.length === 2 && given[0] === '-z') return given[1] === '';
  if (given.length === 2 && given[0] === '-n') return given[1] !== '';
  if (given.length === 3 && (given[1] === '=' || given[1] === '==')) return given[0] === given[2];
  if (given.length === 3 && given[1] === '!=') return given[0] !== given[2];
  throw badTest();
}

function badTest(): Unsupported {
  return new Unsupported('a test other than [ a = b ], [ a != b ], [ -z a ], [ -n a ], joined by && or ||; write the lines without "if", or in a file per host');
}
