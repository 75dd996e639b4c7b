/** What a node is in the terms of stat(2), from its catalog row and the mount's settings (spec 4.4, 5.8). */
import type { CatalogEntry, ListedEntry } from '../cvmfs/catalog';
import { isDirectory, isSpecial, isSymlink } from '../cvmfs/flags';
import type { IdMap } from '../cvmfs/id-map';
import { expandVariables } from '../cvmfs/variant-link';

/** Times are Unix seconds and may be negative; atime and ctime are the mtime. */
export interface NodeAttributes {
  /** st_ino in two halves, like the node id. */
  readonly inoIndex: number;
  readonly inoRowid: number;
  readonly size: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Device number as the kernel packs it into 32 bits. */
  readonly rdev: number;
}

/** The settings of a mount that change what its nodes look like. */
export interface Appearance {
  readonly inodeBits: 32 | 64;
  /** True: everything belongs to `owner`. */
  readonly claimOwnership: boolean;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly worldReadable: boolean;
  readonly uidMap: IdMap | null;
  readonly gidMap: IdMap | null;
  /** Value of a variable in a variant symlink, undefined when it is unset. */
  readonly variable: (name: string) => Buffer | undefined;
}

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** From glibc's 64-bit makedev, which the catalog holds, to the kernel's 32-bit one. */
function kernelDevice(device: number): number {
  const d = BigInt(device);
  const major = Number(((d >> 8n) & 0xfffn) | ((d >> 32n) & 0xfffff000n));
  const minor = Number((d & 0xffn) | ((d >> 12n) & 0xffffff00n));
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** The expanded target of a symbolic link. */
export function linkTarget(entry: Pick<CatalogEntry, 'symlink'>, look: Appearance): Buffer {
  return expandVariables(entry.symlink, look.variable);
}

export function nodeAttributes(entry: ListedEntry, inoIndex: number, inoRowid: number, look: Appearance): NodeAttributes {
  const type = entry.mode & S_IFMT;
  const device = type === S_IFCHR || type === S_IFBLK;
  const readable = look.worldReadable ? (isDirectory(entry.flags) ? 0o555 : 0o444) : 0;
  return {
    inoIndex,
    inoRowid,
    size: isSymlink(entry.flags) ? linkTarget(entry, look).length : isSpecial(entry.flags) ? 0 : entry.size,
    mtime: entry.mtime,
    mtimeNs: Math.max(0, entry.mtimeNs),
    mode: entry.mode | readable,
    nlink: Math.max(1, entry.linkCount),
    uid: look.claimOwnership ? look.owner.uid : (look.uidMap?.map(entry.uid) ?? entry.uid),
    gid: look.claimOwnership ? look.owner.gid : (look.gidMap?.map(entry.gid) ?? entry.gid),
    rdev: device ? kernelDevice(entry.size) : 0,
  };
}
