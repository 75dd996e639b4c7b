/**
 * Whether a path leads through a mount that could hang whoever touches it: FUSE, whose server may be gone, or autofs, which
 * mounts something there when it is looked at. Links on the way are followed by hand, one component at a time.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import { hostFiles } from '../../config/host-files';
import type { ConfigFiles } from '../../config/host-files';
import type { MountEntry } from '../../native/mountinfo';

const LINKS_MAX = 40;

/** File systems that are there as long as the kernel is. */
export function mayHang(type: string): boolean {
  return /^(fuse|autofs|nfs|cifs|smb|ceph|9p|afs)/.test(type) && type !== 'fusectl';
}

/** The mount that a file directly at `target` would be on. */
function mountOf(table: readonly MountEntry[], target: string): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of table) {
    const dir = entry.mountpoint.toString();
    const around = dir === '/' || target === dir || target.startsWith(`${dir}/`);
    // The later of two at one place covers the earlier.
    if (around && (best === undefined || dir.length >= best.mountpoint.toString().length)) best = entry;
  }
  return best;
}

/** The first mount on the way to `target` that may hang, undefined when there is none; nothing on it is touched. */
export function hangingMountOn(table: readonly MountEntry[], target: string): MountEntry | undefined {
  let rest = path.resolve(target).split('/').filter((part) => part !== '');
  let at = '/';
  for (let links = 0; rest.length > 0; ) {
    const next = path.join(at, rest[0]!);
    const entry = mountOf(table, next);
    if (entry !== undefined && mayHang(entry.type)) return entry;
    let link: string | null = null;
    try {
      if (fs.lstatSync(next).isSymbolicLink()) link = fs.readlinkSync(next);
    } catch {
      // Nothing further is there, so nothing further is touched.
      return undefined;
    }
    rest = rest.slice(1);
    if (link === null) at = next;
    else {
      if ((links += 1) > LINKS_MAX) return undefined;
      rest = [...path.resolve(at, link).split('/').filter((part) => part !== ''), ...rest];
      at = '/';
    }
  }
  return undefined;
}

/** Configuration files, but none that lies where reading may hang: FAILED_PRECONDITION names the mount. */
export function carefulFiles(table: readonly MountEntry[]): ConfigFiles {
  const checked = (file: string): string => {
    const entry = hangingMountOn(table, file);
    if (entry === undefined) return file;
    throw new Failure('FAILED_PRECONDITION', `${file} lies on ${entry.source.toString()} (${entry.type}) at ${entry.mountpoint.toString()}, which may hang, and was not read`, { next: 'copy it to the local disk' });
  };
  return { read: (file) => hostFiles.read(checked(file)), list: (dir) => hostFiles.list(checked(dir)) };
}
