/**
 * What a compiled Python module imports while it is itself imported, from its `.pyc` (PEP 552, and Python's `marshal`): the
 * import instructions of the module's own code, not those of its functions.
 *
 *     16 bytes: magic (two bytes and \r\n), flags, and eight bytes that depend on them
 *     then one code object: 'c', five or six 32-bit counts, code, constants, names, …
 *     code, two bytes an instruction: 100 LOAD_CONST (level), 100 (names), 108 IMPORT_NAME, 109 IMPORT_FROM …
 *
 * Read as the interpreters 3.8 to 3.12 write it; later ones number their instructions anew. The file is a stranger's: depth,
 * objects and names are bounded.
 */

export const PYC_BYTES_MAX = 1 << 20;

export interface PythonImport {
  /** 0: absolute; 1: from the module's own package; 2: from the one around that, … */
  readonly level: number;
  /** Dotted, empty for `from . import x`. */
  readonly module: string;
  /** What is taken from it, some of which may be modules too. */
  readonly names: readonly string[];
}

const HEADER_BYTES = 16;
const OBJECTS_MAX = 100_000;
const DEPTH_MAX = 100;
const IMPORTS_MAX = 256;
const NAMES_MAX = 64;
/** 3.8.0 alpha 1; from when on a code object has one count less (3.11.0 alpha 7); and 3.13.0 alpha 1. */
const MAGIC_MIN = 3400;
const MAGIC_FIVE_COUNTS = 3486;
const MAGIC_END = 3550;
const LOAD_CONST = 100;
const IMPORT_NAME = 108;
const IMPORT_FROM = 109;
const EXTENDED_ARG = 144;
const MODULE = /^([A-Za-z_][A-Za-z0-9_]{0,100}(\.[A-Za-z_][A-Za-z0-9_]{0,100}){0,8})?$/;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,100}$/;

export function isPyc(head: Buffer): boolean {
  if (head.length < HEADER_BYTES || head[2] !== 0x0d || head[3] !== 0x0a) return false;
  const magic = head.readUInt16LE(0);
  return magic >= MAGIC_MIN && magic < MAGIC_END;
}

/** None for a file that is damaged or of another kind. */
export function pythonImports(file: Buffer): readonly PythonImport[] {
  if (!isPyc(file)) return [];
  try {
    const { code, constants, names } = new Marshal(file, HEADER_BYTES, file.readUInt16LE(0) >= MAGIC_FIVE_COUNTS ? 5 : 6).module();
    return imports(code, constants, names);
  } catch {
    return [];
  }
}

function imports(code: Buffer, constants: readonly Value[], names: readonly Value[]): PythonImport[] {
  const found: { level: number; module: string; names: string[] }[] = [];
  let argument = 0;
  let loaded: readonly Value[] = [null, null];
  for (let at = 0; at + 1 < code.length && found.length < IMPORTS_MAX; at += 2) {
    const operation = code[at]!;
    argument = (argument << 8) | code[at + 1]!;
    if (operation === EXTENDED_ARG) continue;
    const name = names[argument];
    if (operation === LOAD_CONST) loaded = [loaded[1] ?? null, constants[argument] ?? null];
    if (operation === IMPORT_NAME && typeof name === 'string' && MODULE.test(name)) {
      const level = loaded[0];
      found.push({ level: typeof level === 'number' && level >= 0 && level < 16 ? level : 0, module: name, names: [] });
    }
    const last = found[found.length - 1];
    if (operation === IMPORT_FROM && last !== undefined && typeof name === 'string' && NAME.test(name) && last.names.length < NAMES_MAX) last.names.push(name);
    argument = 0;
  }
  return found;
}

type Value = string | number | Buffer | readonly Value[] | null;

/** Values that no import is made of are read past, and null. */
class Marshal {
  readonly #refs: Value[] = [];
  #objects = 0;

  constructor(
    private readonly bytes: Buffer,
    private at: number,
    private readonly counts: number,
  ) {}

  module(): { readonly code: Buffer; readonly constants: readonly Value[]; readonly names: readonly Value[] } {
    if ((this.byte() & 0x7f) !== 0x63) throw new RangeError('no code');
    // The code object's own place among the references comes before those of its parts.
    this.#refs.push(null);
    this.skip(this.counts * 4);
    const code = this.value(1);
    const constants = this.value(1);
    const names = this.value(1);
    if (!Buffer.isBuffer(code) || !isTuple(constants) || !isTuple(names)) throw new RangeError('no code');
    return { code, constants, names };
  }

  private byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new RangeError('the file ends too early');
    return byte;
  }

  private int(): number {
    this.at += 4;
    return this.bytes.readInt32LE(this.at - 4);
  }

  private length(): number {
    const length = this.int();
    if (length < 0) throw new RangeError('a negative length');
    return length;
  }

  private skip(bytes: number): null {
    this.at += bytes;
    if (this.at > this.bytes.length) throw new RangeError('the file ends too early');
    return null;
  }

  private take(length: number): Buffer {
    this.skip(length);
    return this.bytes.subarray(this.at - length, this.at);
  }

  private value(depth: number): Value {
    if (depth > DEPTH_MAX || ++this.#objects > OBJECTS_MAX) throw new RangeError('too many objects');
    const code = this.byte();
    const ref = (code & 0x80) !== 0 ? this.#refs.push(null) - 1 : -1;
    const value = this.body(String.fromCharCode(code & 0x7f), depth);
    if (ref >= 0) this.#refs[ref] = value;
    return value;
  }

  private body(kind: string, depth: number): Value {
    switch (kind) {
      case 'N':
      case 'T':
      case 'F':
      case 'S':
      case '.':
        return null;
      case 'i':
        return this.int();
      case 'I':
      case 'g':
        return this.skip(8);
      case 'y':
        return this.skip(16);
      case 'f':
        return this.skip(this.byte());
      case 'l':
        return this.skip(2 * Math.abs(this.int()));
      case 's':
        return this.take(this.length());
      case 'z':
      case 'Z':
        return this.take(this.byte()).toString('latin1');
      case 'a':
      case 'A':
      case 'u':
      case 't':
        return this.take(this.length()).toString();
      case 'r':
        return this.#refs[this.length()] ?? null;
      case ')':
        return this.tuple(this.byte(), depth);
      case '(':
      case '[':
      case '<':
      case '>':
        return this.tuple(this.length(), depth);
      case 'c':
        return this.code(depth);
      default:
        throw new RangeError(`an object of kind ${kind}`);
    }
  }

  private tuple(length: number, depth: number): readonly Value[] {
    if (length > OBJECTS_MAX) throw new RangeError('too many objects');
    return Array.from({ length }, () => this.value(depth + 1));
  }

  private code(depth: number): null {
    this.skip(this.counts * 4);
    // Code, constants and names; since 3.11 names and kinds of locals, file, name, qualified name; before, three tuples, file, name.
    for (let i = 0; i < 8; i++) this.value(depth + 1);
    this.skip(4);
    // The line table, and since 3.11 that of exceptions.
    for (let i = this.counts === 5 ? 0 : 1; i < 2; i++) this.value(depth + 1);
    return null;
  }
}

function isTuple(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}
