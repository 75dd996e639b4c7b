/** Our own mounts in the kernel's table (native/mountinfo.ts), by their type. */
import type { MountEntry } from '../../native/mountinfo';

/** Type of our own mounts. */
export const FUSE_TYPE = 'fuse.mesos-cvmfs';

/** The topmost mount at exactly this target. */
export function mountAt(table: readonly MountEntry[], target: string): MountEntry | undefined {
  const bytes = Buffer.from(target);
  return table.filter((entry) => entry.mountpoint.equals(bytes)).pop();
}
