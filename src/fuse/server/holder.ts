/**
 * Who holds a mount, for a keeper that did not see it happen: `server.json` and `spare.json` in the mount's own folder,
 * written by the process itself before it is needed. They are hints of an unprivileged user and believed only after a look
 * at that process: that it lives, holds /dev/fuse under this number and, for a server, the lock of the index list.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import type { ProcessIdentity } from '../process-identity';

const HOLDER_BYTES_MAX = 4_096;

/** Read loosely: another version's process may say more of itself. */
const shape = z.object({ pid: z.number().int().min(1), startTicks: z.number().int().min(0), fuseFd: z.number().int().min(0), version: z.string().max(64).nullable().default(null) });

export interface Holder extends ProcessIdentity {
  /** Number of /dev/fuse in that process. */
  readonly fuseFd: number;
  /** Version of its program; null when it does not say. */
  readonly version: string | null;
}

export type HolderRole = 'server' | 'spare';

/** Temp file and rename: a reader sees the old one or the new one. */
export function writeHolder(dir: string, role: HolderRole, holder: Holder): void {
  const file = path.join(dir, `${role}.json`);
  const temp = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temp, JSON.stringify(holder), { mode: 0o600 });
  fs.renameSync(temp, file);
}

/** Null for none, and for what is no such thing. */
export function readHolder(dir: string, role: HolderRole): Holder | null {
  let fd: number;
  try {
    fd = fs.openSync(path.join(dir, `${role}.json`), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
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
