/**
 * Who holds a mount, for a keeper that did not see it happen: `server.json` and a `spare-<pid>.json` for each standby in the
 * mount's own folder, written by the process itself before it is needed. They are hints of an unprivileged user and believed only after a look
 * at that process: that it lives, holds /dev/fuse under this number and, for a server, the lock of the index list.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';

const HOLDER_BYTES_MAX = 4_096;
/** Standbys that live at a time are few; what an unprivileged user may leave there is not. */
const SPARES_MAX = 256;
const SPARE_FILE = /^spare-[1-9][0-9]{0,9}\.json$/;

/** Read loosely: another version's process may say more of itself. */
const shape = z.object({ pid: z.number().int().min(1), startTicks: z.number().int().min(0), fuseFd: z.number().int().min(0), version: z.string().max(64).nullable().default(null) });

export interface Holder extends ProcessIdentity {
  /** Number of /dev/fuse in that process. */
  readonly fuseFd: number;
  /** Version of its program; null when it does not say. */
  readonly version: string | null;
}

/** The process that serves the mount. */
export function writeServer(dir: string, holder: Holder): void {
  write(path.join(dir, 'server.json'), holder);
}

/** A standby that could; files of those that have ended go. */
export function writeSpare(dir: string, holder: Holder): void {
  for (const { file, holder: other } of spareFiles(dir)) if (other === null || !isAlive(other)) fs.rmSync(file, { force: true });
  write(spareFile(dir, holder.pid), holder);
}

/** It holds the mount no more, or serves it. */
export function removeSpare(dir: string, pid: number): void {
  fs.rmSync(spareFile(dir, pid), { force: true });
}

/** Null for none, and for what is no such thing. */
export function readServer(dir: string): Holder | null {
  return read(path.join(dir, 'server.json'));
}

/** Those that live. */
export function readSpares(dir: string): Holder[] {
  return spareFiles(dir).flatMap(({ holder }) => (holder !== null && isAlive(holder) ? [holder] : []));
}

function spareFile(dir: string, pid: number): string {
  return path.join(dir, `spare-${pid}.json`);
}

function spareFiles(dir: string): Array<{ readonly file: string; readonly holder: Holder | null }> {
  let names: string[];
  try {
    names = fs.readdirSync(dir);
  } catch {
    return [];
  }
  const files = names.filter((name) => SPARE_FILE.test(name)).slice(0, SPARES_MAX).map((name) => path.join(dir, name));
  return files.map((file) => ({ file, holder: read(file) }));
}

/** Temp file and rename: a reader sees the old one or the new one. */
function write(file: string, holder: Holder): void {
  const temp = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temp, JSON.stringify(holder), { mode: 0o600 });
  fs.renameSync(temp, file);
}

function read(file: string): Holder | null {
  let fd: number;
  try {
    fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch {
    return null;
  }
  try {
    const bytes = Buffer.alloc(HOLDER_BYTES_MAX);
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) return null;
    const parsed = shape.safeParse(JSON.parse(bytes.toString('utf8', 0, fs.readSync(fd, bytes))));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  } finally {
    fs.closeSync(fd);
  }
}
