/**
 * What a program needs before it runs, from the first bytes of an ELF file (System V ABI, "Program Loading and Dynamic
 * Linking"): the interpreter and the names of its libraries.
 *
 *     e_ident  7f 45 4c 46  class(1: 32 bit, 2: 64)  data(1: little, 2: big endian) …
 *     e_type 2 EXEC, 3 DYN · program headers: 1 LOAD, 2 DYNAMIC, 3 INTERP
 *     dynamic section: 1 NEEDED, 5 STRTAB, 10 STRSZ, 15 RPATH, 29 RUNPATH, 0 the end
 *
 * The file is a stranger's: every table is bounded, and what does not fit is no need at all. Only what the loader would
 * read itself is read, so a file in chunks needs those chunks that a start needs anyway.
 */

/** Bytes of the file from `offset`; fewer at its end. Throws what the caller wants thrown for bytes that are not local. */
export type ReadFile = (offset: number, length: number) => Buffer;

export interface ElfNeeds {
  /** Absolute path of the interpreter; null for a library or a static program. */
  readonly interpreter: string | null;
  /** DT_NEEDED, in order. */
  readonly libraries: readonly string[];
  /** Directories of DT_RUNPATH, or of DT_RPATH when there is none; `$ORIGIN` as it stands. */
  readonly runPath: readonly string[];
  /** Where Debian and its kin keep the libraries of this machine, `x86_64-linux-gnu`; null for one that is not known. */
  readonly triplet: string | null;
}

const HEADER_BYTES = 64;
const PROGRAM_HEADERS_MAX = 64;
const PROGRAM_HEADER_BYTES_MAX = 256;
const DYNAMIC_BYTES_MAX = 64 * 1024;
const STRINGS_BYTES_MAX = 4 << 20;
const LIBRARIES_MAX = 256;
const NAME_BYTES_MAX = 255;
const PATH_BYTES_MAX = 4_096;
const RUN_PATHS_MAX = 32;

const MAGIC = 0x7f454c46;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_RPATH = 15;
const DT_RUNPATH = 29;

const TRIPLETS: Readonly<Record<string, string>> = {
  '2:62': 'x86_64-linux-gnu',
  '1:62': 'x86_64-linux-gnux32',
  '1:3': 'i386-linux-gnu',
  '2:183': 'aarch64-linux-gnu',
  '1:40': 'arm-linux-gnueabihf',
  '2:21': 'powerpc64le-linux-gnu',
  '2:22': 's390x-linux-gnu',
  '2:243': 'riscv64-linux-gnu',
  '2:258': 'loongarch64-linux-gnu',
};

/** True for the first bytes of an ELF file. */
export function isElf(head: Buffer): boolean {
  return head.length >= 4 && head.readUInt32BE(0) === MAGIC;
}

/** Null when the bytes are no program or library, or are damaged. */
export function elfNeeds(read: ReadFile): ElfNeeds | null {
  const header = read(0, HEADER_BYTES);
  if (header.length < 52 || !isElf(header)) return null;
  const wide = header[4] === 2;
  if ((!wide && header[4] !== 1) || (header[5] !== 1 && header[5] !== 2) || (wide && header.length < HEADER_BYTES)) return null;
  const little = header[5] === 1;
  const u16 = (from: Buffer, at: number): number => (little ? from.readUInt16LE(at) : from.readUInt16BE(at));
  const u32 = (from: Buffer, at: number): number => (little ? from.readUInt32LE(at) : from.readUInt32BE(at));
  const word = (from: Buffer, at: number): number => {
    if (!wide) return u32(from, at);
    // What is not exact here is beyond the end of every file, which the readers of it notice.
    return little ? u32(from, at) + u32(from, at + 4) * 4294967296 : u32(from, at) * 4294967296 + u32(from, at + 4);
  };
  const type = u16(header, 16);
  if (type !== 2 && type !== 3) return null;
  const triplet = TRIPLETS[`${header[4]}:${u16(header, 18)}`] ?? null;

  const tableAt = word(header, wide ? 32 : 28);
  const entryBytes = u16(header, wide ? 54 : 42);
  const count = u16(header, wide ? 56 : 44);
  if (count === 0 || count > PROGRAM_HEADERS_MAX || entryBytes < (wide ? 56 : 32) || entryBytes > PROGRAM_HEADER_BYTES_MAX) return null;
  const table = exactly(read, tableAt, count * entryBytes);
  if (table === null) return null;
  const segments = Array.from({ length: count }, (_, i) => {
    const at = i * entryBytes;
    return { type: u32(table, at), offset: word(table, at + (wide ? 8 : 4)), address: word(table, at + (wide ? 16 : 8)), fileBytes: word(table, at + (wide ? 32 : 16)) };
  });

  const interp = segments.find((segment) => segment.type === PT_INTERP);
  const interpreter = interp === undefined || interp.fileBytes > PATH_BYTES_MAX ? null : text(exactly(read, interp.offset, interp.fileBytes), 0, PATH_BYTES_MAX);
  const nothing = { interpreter: interpreter !== null && interpreter.startsWith('/') ? interpreter : null, libraries: [], runPath: [], triplet };
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  if (dynamic === undefined) return nothing;

  const section = read(dynamic.offset, Math.min(dynamic.fileBytes, DYNAMIC_BYTES_MAX));
  const tags = new Map<number, number>();
  const needed: number[] = [];
  const step = wide ? 16 : 8;
  for (let at = 0; at + step <= section.length; at += step) {
    const tag = word(section, at);
    const value = word(section, at + step / 2);
    if (tag === 0) break;
    if (tag === DT_NEEDED && needed.length < LIBRARIES_MAX) needed.push(value);
    else if (!tags.has(tag)) tags.set(tag, value);
  }
  const address = tags.get(DT_STRTAB);
  if (address === undefined) return nothing;
  const load = segments.find((segment) => segment.type === PT_LOAD && address >= segment.address && address < segment.address + segment.fileBytes);
  if (load === undefined) return nothing;
  const strings = read(load.offset + (address - load.address), Math.min(tags.get(DT_STRSZ) ?? 0, load.address + load.fileBytes - address, STRINGS_BYTES_MAX));
  const libraries = needed.map((at) => text(strings, at, NAME_BYTES_MAX)).filter((name) => name !== null);
  const runPathAt = tags.get(DT_RUNPATH) ?? tags.get(DT_RPATH);
  const runPath = runPathAt === undefined ? null : text(strings, runPathAt, PATH_BYTES_MAX);
  return { ...nothing, libraries: [...new Set(libraries)], runPath: (runPath ?? '').split(':').filter((part) => part.length > 0).slice(0, RUN_PATHS_MAX) };
}

function exactly(read: ReadFile, offset: number, length: number): Buffer | null {
  const bytes = read(offset, length);
  return bytes.length === length ? bytes : null;
}

/** A string that ends with a NUL; null when it is empty, longer than `max`, or has no end. */
function text(bytes: Buffer | null, at: number, max: number): string | null {
  if (bytes === null || !(at >= 0 && at < bytes.length)) return null;
  const end = bytes.indexOf(0, at);
  return end <= at || end - at > max ? null : bytes.toString('latin1', at, end);
}
