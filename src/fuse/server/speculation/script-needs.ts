/**
 * What a script needs before it runs: the programs named in its first line, as execve(2) and env(1) read it.
 *
 *     #!/usr/bin/perl -w           → /usr/bin/perl
 *     #!/usr/bin/env -S A=1 node x → /usr/bin/env, and `node` wherever PATH finds it
 */

/** Linux looks at so many bytes of a first line. */
const LINE_BYTES_MAX = 255;

export interface ScriptNeeds {
  /** Absolute path of the interpreter. */
  readonly interpreter: string;
  /** Name of a program that env(1) looks for; null for any other interpreter. */
  readonly program: string | null;
}

export function isScript(head: Buffer): boolean {
  return head.length >= 2 && head[0] === 0x23 && head[1] === 0x21;
}

/** Null for what is no script, or one whose interpreter is not an absolute path. */
export function scriptNeeds(head: Buffer): ScriptNeeds | null {
  if (!isScript(head)) return null;
  const end = head.indexOf(0x0a);
  const words = head
    .toString('latin1', 2, Math.min(end < 0 ? head.length : end, LINE_BYTES_MAX))
    .split(/[ \t\r]+/)
    .filter((word) => word.length > 0);
  const interpreter = words[0];
  if (interpreter === undefined || !interpreter.startsWith('/') || interpreter.includes('\0')) return null;
  const program = /\/env$/.test(interpreter) ? words.slice(1).find((word) => !word.startsWith('-') && !word.includes('=')) : undefined;
  return { interpreter, program: program === undefined || !/^[\w.+/-]+$/.test(program) ? null : program };
}
