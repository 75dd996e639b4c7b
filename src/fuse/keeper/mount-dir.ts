/** The keeper's folders in `run_dir`, and the one that each mount's server has there. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import { spareDir } from '../control/control-path';

export function mountDir(runDir: string, id: string): string {
  return path.join(runDir, 'mounts', id);
}

export function makeKeeperDirs(runDir: string): void {
  fs.mkdirSync(path.join(runDir, 'keeper'), { recursive: true, mode: 0o700 });
  fs.mkdirSync(path.join(runDir, 'mounts'), { recursive: true, mode: 0o711 });
}

/** The server's own folder: 0700, of the server's user. */
export function makeMountDir(runDir: string, record: { readonly id: string; readonly serverUid: number; readonly serverGid: number }): void {
  const dir = mountDir(runDir, record.id);
  fs.mkdirSync(dir, { mode: 0o700 });
  fs.chownSync(dir, record.serverUid, record.serverGid);
}

/**
 * The folder in which spares of a user rehearse, 0700. One for each user, and never removed: root would follow what a
 * living process of that user puts in the way. `run_dir` is root's, so nobody else can have put one there.
 */
export function makeSpareDir(runDir: string, uid: number, gid: number): void {
  const dir = spareDir(runDir, uid);
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (fs.lstatSync(dir).uid !== uid) fs.lchownSync(dir, uid, gid);
}

/**
 * Opens a file in the server's folder, or makes it. The server's user may have put anything there: a link is not
 * followed, and only a file that was made now is given to that user (an old one might be a hard link to somebody else's).
 */
export function makeInside(file: string, flags: number, uid: number, gid: number): number {
  const safe = flags | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
  try {
    const made = fs.openSync(file, safe | fs.constants.O_CREAT | fs.constants.O_EXCL, 0o600);
    fs.fchownSync(made, uid, gid);
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return openInside(file, uid, flags);
}

/** Opens a file of the server's folder, by default for reading. The server's user may have put anything there: no link is followed. */
export function openInside(file: string, uid: number, flags: number = fs.constants.O_RDONLY): number {
  const fd = fs.openSync(file, flags | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  const stat = fs.fstatSync(fd);
  if (stat.isFile() && stat.nlink === 1 && stat.uid === uid) return fd;
  fs.closeSync(fd);
  throw new Failure('STATE_DAMAGED', `${file} is not the server's own file`, { next: 'unmount the repository and mount it again' });
}

/**
 * Removes the server's folder; only names directly in it, so that nothing put there leads elsewhere. If its user has made
 * folders of its own in there they stay: they must not keep the keeper from its other mounts.
 */
export function removeMountDir(runDir: string, id: string, log: Logger): void {
  const dir = mountDir(runDir, id);
  try {
    for (const name of fs.readdirSync(dir)) fs.unlinkSync(path.join(dir, name));
    fs.rmdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn('the folder of a mount stays', { dir, error });
  }
}
