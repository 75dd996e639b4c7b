/** What the provisioner has to know of the host it runs on. */
import * as fs from 'node:fs';
import type { MountEntry } from '../src/native/mountinfo';
import { isBelow } from '../src/native/mountinfo';

/** Changes with every boot: a mount that was recorded under another id is gone. */
export function readBootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** The kernel takes no upper directory on these. */
const NO_UPPER_DIRECTORY: readonly string[] = ['overlay', 'aufs', 'ecryptfs', 'nfs', 'nfs4', 'cifs', 'vfat', 'fuse'];

/** What is wrong with the place of the root file systems, a sentence each; none of it keeps the service from starting. */
export function rootWarnings(root: string, table: readonly MountEntry[]): string[] {
  const under = table.filter(({ mountpoint }) => mountpoint.toString() === '/' || isBelow(Buffer.from(root), mountpoint.toString()));
  const mount = under.sort((a, b) => b.mountpoint.length - a.mountpoint.length || b.id - a.id)[0];
  if (mount === undefined) return [];
  const where = `${root} lies on the mount ${mount.mountpoint.toString()}`;
  const warnings: string[] = [];
  if (NO_UPPER_DIRECTORY.includes(mount.type)) warnings.push(`${where} of type ${mount.type}, on which the backend overlay cannot work; move state_dir to a local disk, or use the backend bind`);
  if (!mount.tags.some((tag) => tag.startsWith('shared:'))) {
    warnings.push(`${where}, which is not shared: root file systems that are destroyed stay mounted in containers that were started before; run: mount --make-rshared ${mount.mountpoint.toString()}`);
  }
  return warnings;
}
