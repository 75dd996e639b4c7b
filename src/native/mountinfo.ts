/**
 * /proc/self/mountinfo, the one witness that is asked whether a mount is there: reading it never touches a file system
 * behind a mount, while a `stat` of a path can hang for ever.
 *
 *     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *     (1)(2)(3)   (4)   (5)      (6)      (7)   (8) (9)   (10)         (11)
 *
 * 1 mount id, 2 parent, 3 major:minor, 4 root inside the file system, 5 mount point, 6 mount options, 7 optional tags up
 * to the lone dash, 9 type, 10 source, 11 options of the superblock. Space, tab, newline and backslash in (4), (5), (9),
 * (10) are octal escapes (`\040`); all other bytes stand as they are, so lines are bytes, not text (proc(5)).
 */
import * as fs from 'node:fs';

export interface MountEntry {
  readonly id: number;
  readonly parent: number;
  /** `major:minor`. */
  readonly device: string;
  readonly root: Buffer;
  readonly mountpoint: Buffer;
  readonly options: readonly string[];
  /** `shared:N`, `master:N`, … */
  readonly tags: readonly string[];
  readonly type: string;
  readonly source: Buffer;
  readonly superOptions: string;
}

const BACKSLASH = 0x5c;
const SPACE = 0x20;

function unescape(field: Buffer): Buffer {
  if (!field.includes(BACKSLASH)) return field;
  const out = Buffer.alloc(field.length);
  let length = 0;
  for (let at = 0; at < field.length; at++) {
    const octal = field.toString('latin1', at + 1, at + 4);
    if (field[at] === BACKSLASH && /^[0-7]{3}$/.test(octal)) {
      out[length++] = parseInt(octal, 8) & 0xff;
      at += 3;
    } else out[length++] = field[at]!;
  }
  return out.subarray(0, length);
}

function fields(line: Buffer): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at <= line.length; ) {
    const end = line.indexOf(SPACE, at);
    out.push(line.subarray(at, end < 0 ? line.length : end));
    if (end < 0) break;
    at = end + 1;
  }
  return out;
}

function parseLine(line: Buffer): MountEntry | undefined {
  const parts = fields(line);
  const dash = parts.findIndex((part, index) => index >= 6 && part.length === 1 && part[0] === 0x2d);
  if (dash < 0 || parts.length < dash + 3) return undefined;
  const text = (index: number): string => parts[index]!.toString('latin1');
  return {
    id: Number(text(0)),
    parent: Number(text(1)),
    device: text(2),
    root: unescape(parts[3]!),
    mountpoint: unescape(parts[4]!),
    options: text(5).split(','),
    tags: parts.slice(6, dash).map((tag) => tag.toString('latin1')),
    type: unescape(parts[dash + 1]!).toString('latin1'),
    source: unescape(parts[dash + 2]!),
    superOptions: parts[dash + 3]?.toString('latin1') ?? '',
  };
}

/** Entries in the order of the table; a line that cannot be read is left out. */
export function parseMountinfo(table: Buffer): MountEntry[] {
  const out: MountEntry[] = [];
  for (let at = 0; at < table.length; ) {
    const end = table.indexOf(0x0a, at);
    const entry = parseLine(table.subarray(at, end < 0 ? table.length : end));
    if (entry !== undefined) out.push(entry);
    if (end < 0) break;
    at = end + 1;
  }
  return out;
}

/** The table of this process' mount namespace. */
export function readMountinfo(): MountEntry[] {
  return parseMountinfo(fs.readFileSync('/proc/self/mountinfo'));
}

/** Whether `mountpoint` is `dir` or lies below it. */
export function isBelow(mountpoint: Buffer, dir: string): boolean {
  const prefix = Buffer.from(dir);
  return mountpoint.subarray(0, prefix.length).equals(prefix) && (mountpoint.length === prefix.length || mountpoint[prefix.length] === 0x2f);
}
