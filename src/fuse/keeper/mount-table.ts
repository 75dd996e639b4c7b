/**
 * What the kernel says is mounted: `/proc/self/mountinfo`, asked instead of any path, since a path below a mount whose
 * server is gone would hang.
 *
 *     36 35 98:0 /root /mount/point ro,nosuid - fuse.mesos-cvmfs source options
 *     id parent device root target            fields… - type     source
 *
 * Bytes that would end a field are written as three octal digits (`\040` is a blank).
 */
import * as fs from 'node:fs';

export interface MountEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** `major:minor`. */
  readonly device: string;
  /** Path within its file system that is mounted here; `/` unless it is a bind mount of a part. */
  readonly root: Buffer;
  readonly target: Buffer;
  readonly type: string;
  readonly source: Buffer;
}

/** Type of our own mounts. */
export const FUSE_TYPE = 'fuse.mesos-cvmfs';

function unescape(field: string): Buffer {
  return Buffer.from(field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))), 'latin1');
}

export function parseMountTable(text: Buffer): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.toString('latin1').split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    const [mountId, parentId, device, root, target] = fields;
    const type = fields[dash + 1];
    const source = fields[dash + 2];
    if (dash < 0 || device === undefined || root === undefined || target === undefined || type === undefined || source === undefined) continue;
    entries.push({ mountId: Number(mountId), parentId: Number(parentId), device, root: unescape(root), target: unescape(target), type, source: unescape(source) });
  }
  return entries;
}

export function readMountTable(): MountEntry[] {
  return parseMountTable(fs.readFileSync('/proc/self/mountinfo'));
}

/** The topmost mount at exactly this target. */
export function mountAt(table: readonly MountEntry[], target: string): MountEntry | undefined {
  const bytes = Buffer.from(target);
  return table.filter((entry) => entry.target.equals(bytes)).pop();
}
