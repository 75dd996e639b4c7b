/**
 * One file of CVMFS parameters (spec 5.1), as administrators write them for the stock client, which hands them to
 * /bin/sh. These files are root's, but a process that parses what strangers publish keeps no shell at hand, so this reads
 * the part of the language that such files use:
 *
 *   # comment
 *   [export |readonly ]KEY=VALUE          words as in parameter-expressions.ts; a \ at the end joins lines
 *   if [ "$X" = "y" ]; then … elif … else … fi
 *
 * Anything else is a failure that names file and line. Lines of a branch that is not taken are not looked at. An `if` that
 * only a shell can decide is passed over when all that it sets is of no matter to us: Debian's package of the stock client
 * ships one, with `grep` in it, around CVMFS_CONFIG_REPOSITORY.
 */
import { Failure } from '../error';
import { condition, Unsupported, words } from './parameter-expressions';

export interface Parameter {
  readonly value: string;
  /** File it was set in, or `-o` for one of the command line. */
  readonly file: string;
  /** From 1; 0 for one of the command line. */
  readonly line: number;
}

const ASSIGNMENT = /^(?:(?:export|readonly)\s+)*([A-Za-z_][A-Za-z0-9_]*)=/;
/** `export A B`, `readonly A`: nothing to do, every parameter is exported and none protected from later files. */
const DECLARATION = /^(?:export|readonly)(?:\s+[A-Za-z_][A-Za-z0-9_]*)*\s*(?:#.*)?$/;
const MAX_NESTING = 32;

interface Block {
  /** Lines of the present branch count. */
  active: boolean;
  /** A branch was taken already, or the whole block stands in one that was not. */
  done: boolean;
  elseSeen: boolean;
  /** Its condition needs a shell: no branch is read, and none may set what matters. */
  readonly undecided: Unsupported | undefined;
  readonly line: number;
}

/** On: YES, ON, 1, TRUE; off: NO, OFF, 0, FALSE, in any case; undefined otherwise (spec 5.1). */
export function parameterBoolean(value: string): boolean | undefined {
  if (/^(yes|on|1|true)$/i.test(value)) return true;
  return /^(no|off|0|false)$/i.test(value) ? false : undefined;
}

/**
 * Reads `text` into `parameters`, later values in place of earlier ones. `matters`: whether a parameter has an effect.
 * Throws CONFIG_INVALID with file and line.
 */
export function readParameterFile(text: string, file: string, parameters: Map<string, Parameter>, matters: (name: string) => boolean = () => true): void {
  const blocks: Block[] = [];
  const lookup = (name: string): string | undefined => parameters.get(name)?.value;
  const active = (): boolean => blocks[blocks.length - 1]?.active ?? true;

  for (const { text: given, line } of logicalLines(text)) {
    try {
      statement(given.trim(), line);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      const [what, cure] = error.message.split('; ', 2);
      throw new Failure('CONFIG_INVALID', `${file}:${line}: ${what}`, { next: cure ?? 'write KEY=VALUE lines only', data: { file, line } });
    }
  }
  const open = blocks[blocks.length - 1];
  if (open !== undefined) throw new Failure('CONFIG_INVALID', `${file}:${open.line}: this "if" has no "fi"`, { data: { file, line: open.line } });

  function statement(given: string, line: number): void {
    if (given === '' || given.startsWith('#') || given === ':') return;
    const keyword = /^(if|elif|else|fi|then)(?=[\s;]|$)/.exec(given)?.[1];
    if (keyword !== undefined) return control(keyword, given.slice(keyword.length).trim(), line);
    if (DECLARATION.test(given)) return;
    const assignment = ASSIGNMENT.exec(given);
    const { undecided } = blocks[blocks.length - 1] ?? {};
    if (undecided !== undefined && (assignment === null || matters(assignment[1]!))) throw undecided;
    if (!active()) return;
    if (assignment === null) throw new Unsupported(`"${given.slice(0, 40)}" is not KEY=VALUE; this file is read without a shell, write the values themselves`);
    assign(assignment[1]!, given.slice(assignment[0].length), line);
  }

  function assign(name: string, rest: string, line: number): void {
    const blank = rest === '' || /^[\s;]/.test(rest);
    const [value, ...more] = blank ? ['', ...words(rest, lookup)] : words(rest, lookup);
    const left = more[0] === ';' ? more.slice(1) : more;
    if (left.length > 0) throw new Unsupported(`after the value of ${name} comes "${left[0]!.slice(0, 40)}"; put the value in quotes, one parameter a line`);
    parameters.set(name, { value: value ?? '', file, line });
  }

  function control(keyword: string, rest: string, line: number): void {
    const block = blocks[blocks.length - 1];
    if (keyword === 'if') {
      if (blocks.length >= MAX_NESTING) throw new Unsupported(`"if" is nested more than ${MAX_NESTING} times; write the values themselves`);
      const outer = active();
      const taken = outer ? decide(rest) : false;
      const undecided = taken instanceof Unsupported ? taken : block?.undecided;
      blocks.push({ active: taken === true, done: taken !== false || !outer, elseSeen: false, undecided, line });
      return inline(rest, line);
    }
    if (block === undefined) throw new Unsupported(`"${keyword}" without "if"; remove it`);
    if (keyword === 'then') return statement(rest.replace(/^;/, '').trim(), line);
    if (keyword === 'fi') {
      blocks.pop();
      return statement(rest.replace(/^;/, '').trim(), line);
    }
    if (block.elseSeen) throw new Unsupported(`"${keyword}" after "else"; remove it`);
    if (keyword === 'elif') {
      const taken = block.done ? false : decide(rest);
      if (taken instanceof Unsupported) throw taken;
      block.active = taken;
      block.done ||= taken;
      return inline(rest, line);
    }
    block.elseSeen = true;
    block.active = !block.done;
    block.done = true;
    statement(rest, line);
  }

  function decide(rest: string): boolean | Unsupported {
    try {
      const tested = words(rest.replace(/(^|[\s;])then(\s.*)?$/, '$1'), lookup);
      while (tested[tested.length - 1] === ';') tested.pop();
      return condition(tested);
    } catch (error) {
      if (error instanceof Unsupported) return error;
      throw error;
    }
  }

  /** What stands behind `then` on the line of its `if`: `if [ … ]; then A=1; fi`. */
  function inline(rest: string, line: number): void {
    const body = /(?:^|[\s;])then\s+(.*)$/.exec(rest)?.[1];
    if (body === undefined) return;
    for (const part of body.split(/;(?=(?:[^"']|"[^"]*"|'[^']*')*$)/)) statement(part.trim(), line);
  }
}

/** Lines with their number; a backslash at the end joins the next one. */
function* logicalLines(text: string): Generator<{ text: string; line: number }> {
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1;
    let joined = lines[index]!;
    while (/(^|[^\\])(\\\\)*\\$/.test(joined) && !joined.trimStart().startsWith('#') && index + 1 < lines.length) {
      index += 1;
      joined = joined.slice(0, -1) + lines[index]!;
    }
    yield { text: joined, line };
  }
}
