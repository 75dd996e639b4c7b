/**
 * Reads the headers of a tar archive (POSIX.1-2001 pax, ustar, GNU, V7). Names are bytes: the readers at hand decode them
 * as UTF-8 and lose what is not. Strict, since an archive may be hostile: a wrong checksum, an odd number, a record
 * longer than its limit, or a kind of member that we do not know is an error and not a guess.
 *
 *     archive = members, then two blocks of zeros (or its end);  member = header block of 512 bytes, data, padding
 *     0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]  156 type
 *     157 link[100]  257 magic[6]  263 version[2]  329 devmajor[8]  337 devminor[8]  345 prefix[155]
 *     numbers: octal digits, ended by blank or NUL; or, GNU, base 256 when the first byte is 0x80 or 0xff
 *     types: 0 file  1 hard link  2 symbolic link  3 4 device  5 directory  6 pipe  7 file
 *            x g pax records "LENGTH KEY=VALUE\n" for the next member, for all that follow   L K GNU long name, long link
 *
 * A record that applies to "the next member" never applies to another extension header: programs that differ in this see
 * different files in one archive.
 */
import { Failure } from '../error';
import type { Xattr } from '../cvmfs/xattr-blob';
import type { EntryType } from '../repository/reader';

export interface TarMember {
  /** As it is in the archive. */
  readonly name: Buffer;
  /** `hardlink`: another name of the member in `link`. */
  readonly type: EntryType | 'hardlink';
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  readonly link: Buffer;
  /** As glibc's makedev packs it. */
  readonly device: bigint;
  readonly xattrs: readonly Xattr[];
  /** Bytes of data and where they begin in the archive. */
  readonly size: number;
  readonly dataOffset: number;
}

/** `read(offset, length)` gives fewer bytes only at the end of the archive. */
export type ReadAt = (offset: number, length: number) => Buffer;

const BLOCK = 512;
/** A pax header of 255 attributes of 255 bytes has 140 kB. */
const MAX_EXTENSION_BYTES = 1 << 20;
const MAX_PATH_BYTES = 64 * 1024;
const MAX_EXTENSIONS_PER_MEMBER = 16;

type Records = Map<string, Buffer>;

export function* readTar(shown: string, totalBytes: number, read: ReadAt): Generator<TarMember> {
  const global: Records = new Map();
  let own: Records = new Map();
  let extensions = 0;
  let anything = false;
  for (let offset = 0; ;) {
    const header = read(offset, BLOCK);
    const fail = (why: string): Failure =>
      new Failure('INVALID_ARGUMENT', `${shown} is not a sound tar archive: ${why} at byte ${offset}`, { next: 'make the archive again' });
    if (header.length === 0 && !anything) throw fail('it is empty');
    if (header.length === 0) return; // the two blocks of zeros are often left out
    if (header.length < BLOCK) throw fail('it is cut short');
    if (header.every((byte) => byte === 0)) return;
    anything = true;
    if (!checksumFits(header)) throw fail('there is no header');
    const type = String.fromCharCode(header[156]!);
    const data = offset + BLOCK;
    const size = own.has('size') || global.has('size') ? decimal(own.get('size') ?? global.get('size')!, fail) : number(header, 124, 12, fail);
    const end = data + Math.ceil(size / BLOCK) * BLOCK;
    // A negative size would lead back to where we were.
    if (size < 0 || !Number.isSafeInteger(end)) throw fail('a member has an absurd size');

    if ('xgLK'.includes(type)) {
      const bytes = extension(read, data, number(header, 124, 12, fail), fail);
      if (type === 'x') parseRecords(bytes, own, fail);
      else if (type === 'g') parseRecords(bytes, global, fail);
      else own.set(type === 'L' ? 'path' : 'linkpath', untilNul(bytes));
      extensions += 1;
      if (extensions > MAX_EXTENSIONS_PER_MEMBER) throw fail(`more than ${MAX_EXTENSIONS_PER_MEMBER} extension headers precede a member`);
      offset = data + Math.ceil(bytes.length / BLOCK) * BLOCK;
      continue;
    }
    const records: Records = new Map([...global, ...own]);
    own = new Map();
    extensions = 0;
    const member = readMember(header, type, records, size, data, fail);
    if (member !== undefined && data + member.size > totalBytes) throw fail('it is cut short, or a size is wrong,');
    if (member !== undefined) yield member;
    // Only files have data, and the lists of names in incremental archives; the size of others is a leftover.
    offset = member === undefined || member.type === 'file' || type === 'D' ? end : data;
  }
}

function readMember(
  header: Buffer,
  flag: string,
  records: Records,
  size: number,
  dataOffset: number,
  fail: (why: string) => Failure,
): TarMember | undefined {
  for (const key of records.keys()) if (key.startsWith('GNU.sparse.')) throw sparse();
  if (flag === 'S') throw sparse();
  if (flag === 'V') return undefined; // the label of a volume is no file
  const name = records.get('path') ?? headerName(header);
  const type = memberType(flag, name);
  if (type === undefined)
    throw new Failure(
      'UNIMPLEMENTED',
      `a member of kind ${JSON.stringify(flag)}, ${JSON.stringify(name.toString('latin1').slice(0, 200))}, is not a file of any kind we know`,
    );
  const link = records.get('linkpath') ?? untilNul(header.subarray(157, 257));
  if (name.includes(0) || link.includes(0)) throw fail('a name holds a NUL byte');
  if (name.length > MAX_PATH_BYTES || link.length > MAX_PATH_BYTES) throw fail(`a name has more than ${MAX_PATH_BYTES} bytes`);
  const id = (key: string, at: number): number => {
    const value = records.has(key) ? decimal(records.get(key)!, fail) : number(header, at, 8, fail);
    if (value < 0 || value > 0xffffffff) throw fail(`the ${key} ${value} is not possible`);
    return value;
  };
  const { seconds, nanoseconds } = records.has('mtime')
    ? time(records.get('mtime')!, fail)
    : { seconds: number(header, 136, 12, fail), nanoseconds: 0 };
  const device =
    type === 'character-device' || type === 'block-device' ? makedev(number(header, 329, 8, fail), number(header, 337, 8, fail), fail) : 0n;
  return {
    name,
    type,
    permissions: number(header, 100, 8, fail) & 0o7777,
    uid: id('uid', 108),
    gid: id('gid', 116),
    mtime: seconds,
    mtimeNs: nanoseconds,
    link,
    device,
    xattrs: xattrs(records, fail),
    size: type === 'file' ? size : 0,
    dataOffset,
  };
}

function sparse(): Failure {
  return new Failure('UNIMPLEMENTED', 'the archive holds a sparse file', { next: 'make it without --sparse' });
}

function memberType(flag: string, name: Buffer): TarMember['type'] | undefined {
  switch (flag) {
    case '0':
    case '\0':
    case '7':
      // V7 archives mark directories only by the slash.
      return name[name.length - 1] === 0x2f ? 'directory' : 'file';
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '3':
      return 'character-device';
    case '4':
      return 'block-device';
    case '5':
    case 'D':
      return 'directory';
    case '6':
      return 'fifo';
    default:
      return undefined;
  }
}

function headerName(header: Buffer): Buffer {
  const name = untilNul(header.subarray(0, 100));
  // Only POSIX archives have the prefix; GNU ones keep times there.
  if (header.toString('latin1', 257, 263) !== 'ustar\0') return name;
  const prefix = untilNul(header.subarray(345, 500));
  return prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
}

function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Sum of all bytes, the checksum's own counted as blanks; old programs summed signed bytes. */
function checksumFits(header: Buffer): boolean {
  const stated = Number.parseInt(header.toString('latin1', 148, 156).replace(/[\0 ]/g, ''), 8);
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < BLOCK; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : header[at]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  return stated === unsigned || stated === signed;
}

function number(header: Buffer, at: number, length: number, fail: (why: string) => Failure): number {
  const field = header.subarray(at, at + length);
  const first = field[0]!;
  if (first === 0x80 || first === 0xff) {
    let value = BigInt.asIntN(8 * length, BigInt(`0x${field.toString('hex')}`));
    if (first === 0x80) value = BigInt(`0x${field.subarray(1).toString('hex')}`);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) throw fail('a number is too large');
    return Number(value);
  }
  const text = field.toString('latin1').replace(/\0.*$/s, '').trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw fail(`${JSON.stringify(text)} is not an octal number`);
  return Number.parseInt(text, 8);
}

function extension(read: ReadAt, offset: number, size: number, fail: (why: string) => Failure): Buffer {
  if (size > MAX_EXTENSION_BYTES || size < 0) throw fail(`an extension header has ${size} bytes, and ${MAX_EXTENSION_BYTES} are allowed`);
  const bytes = read(offset, size);
  if (bytes.length < size) throw fail('it is cut short');
  return bytes;
}

/** "LENGTH KEY=VALUE\n": the length counts itself; the value is bytes of any kind. An empty value takes the key back. */
function parseRecords(bytes: Buffer, into: Records, fail: (why: string) => Failure): void {
  for (let at = 0; at < bytes.length;) {
    const blank = bytes.indexOf(0x20, at);
    const digits = blank < 0 ? '' : bytes.toString('latin1', at, blank);
    const length = /^[0-9]{1,7}$/.test(digits) ? Number(digits) : 0;
    const equals = blank < 0 ? -1 : bytes.indexOf(0x3d, blank);
    const end = at + length;
    if (length === 0 || end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end) throw fail('a pax record is malformed');
    const key = bytes.toString('latin1', blank + 1, equals);
    const value = Buffer.from(bytes.subarray(equals + 1, end - 1));
    if (value.length === 0 && !key.startsWith('SCHILY.xattr.')) into.delete(key);
    else into.set(key, value);
    at = end;
  }
}

function decimal(value: Buffer, fail: (why: string) => Failure): number {
  const text = value.toString('latin1');
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw fail(`${JSON.stringify(text.slice(0, 40))} is not a number`);
  return Number(text);
}

/** Seconds with a fraction, perhaps negative: −0.5 is the half second before 1970. */
function time(value: Buffer, fail: (why: string) => Failure): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value.toString('latin1'));
  if (match === null) throw fail(`${JSON.stringify(value.toString('latin1').slice(0, 40))} is not a time`);
  const whole = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { seconds: whole, nanoseconds };
  return nanoseconds === 0 ? { seconds: -whole, nanoseconds } : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** The packing of glibc: eight low bits of the minor, twelve of the major, then the rest; 32 bits hold what Linux has. */
function makedev(major: number, minor: number, fail: (why: string) => Failure): bigint {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) throw fail(`the device ${major}:${minor} is not possible`);
  return BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor & 0xfff00) << 12n);
}

/** star's records hold the bytes, libarchive's are base64 under a percent-encoded name. */
function xattrs(records: Records, fail: (why: string) => Failure): Xattr[] {
  const found = new Map<string, Xattr>();
  const add = (name: Buffer, value: Buffer): void => void found.set(name.toString('latin1'), { name, value });
  for (const [key, value] of records) {
    if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = key
        .slice('LIBARCHIVE.xattr.'.length)
        .replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value.toString('latin1'))) throw fail('an extended attribute is malformed');
      add(Buffer.from(name, 'latin1'), Buffer.from(value.toString('latin1'), 'base64'));
    }
  }
  for (const [key, value] of records) {
    // GNU tar writes the two characters that would confuse a record's reader so.
    if (key.startsWith('SCHILY.xattr.'))
      add(Buffer.from(key.slice('SCHILY.xattr.'.length).replace(/%3D/g, '=').replace(/%25/g, '%'), 'latin1'), value);
  }
  return [...found.values()];
}
