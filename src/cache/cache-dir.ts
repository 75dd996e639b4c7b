/**
 * The cache's directory and its modes:
 *
 *     <dir>/                    0700, of the user that the file system servers run as
 *       objects/xx/<name>       0600, plain bytes of an object (object-name.ts)
 *       txn/<pid>-…             0600, objects being written (temp-file.ts)
 *       index.db                0600, records, pins, users (object-index.ts); index.db.damaged: one that was set aside
 *       open.lock               0600, held while an index is opened or set aside
 *       repositories/<fqrn>/    manifest, whitelist, breadcrumb (repository-files.ts)
 *
 * The modes are a promise, not a habit: the files hold what a repository may have published with mode 0600, so a cache
 * that others can read would bypass the modes of the mounted tree, and one that others can write would be trusted by it.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../error';

export interface CacheOwner {
  readonly uid: number;
  readonly gid: number;
}

/** Who this process acts as. */
export function ownUser(): CacheOwner {
  return { uid: process.geteuid!(), gid: process.getegid!() };
}

/**
 * Makes the directory when it is missing (parents 0755), with mode 0700 and that owner, which only root can give to
 * somebody else; then checks it. FAILED_PRECONDITION when it is no directory or open to others, PERMISSION_DENIED when it
 * belongs to somebody else; both name the command that repairs it.
 */
export function prepareCacheDir(dir: string, owner: CacheOwner = ownUser()): void {
  fs.mkdirSync(path.dirname(dir), { recursive: true, mode: 0o755 });
  try {
    fs.mkdirSync(dir, { mode: 0o700 });
    if (owner.uid !== process.geteuid!() || owner.gid !== process.getegid!()) fs.lchownSync(dir, owner.uid, owner.gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw Failure.from(error, `cache directory ${dir}`);
  }
  const stat = fs.statSync(dir);
  if (!stat.isDirectory()) throw new Failure('FAILED_PRECONDITION', `the cache directory ${dir} is not a directory`, { next: 'remove it or set cache.dir' });
  if (stat.uid !== owner.uid) {
    throw new Failure('PERMISSION_DENIED', `the cache directory ${dir} belongs to user ${stat.uid} and should belong to user ${owner.uid}`, {
      next: `run: chown -R ${owner.uid}:${owner.gid} ${dir}`,
    });
  }
  if ((stat.mode & 0o077) !== 0) {
    throw new Failure('FAILED_PRECONDITION', `the cache directory ${dir} is open to other users (mode ${(stat.mode & 0o7777).toString(8).padStart(4, '0')}, must be 0700)`, {
      next: `run: chmod 0700 ${dir}`,
    });
  }
}

/**
 * What the owner does when it opens the cache: the directory as above, then the folders in it. A process that is not the
 * owner is refused, root too: root would follow links that the servers' user, who parses what strangers publish, may have
 * put anywhere in it. Root prepares the directory, and becomes its owner before it opens the cache.
 */
export function openCacheDir(dir: string, owner: CacheOwner = ownUser()): void {
  prepareCacheDir(dir, owner);
  const self = ownUser();
  if (self.uid !== owner.uid) {
    throw new Failure('PERMISSION_DENIED', `the cache directory ${dir} belongs to user ${owner.uid}, and this process acts as user ${self.uid}`, {
      next: `act as user ${owner.uid} to open it`,
    });
  }
  for (const folder of ['objects', 'txn', 'repositories']) makeOwnFolder(path.join(dir, folder));
}

/** A folder of ours, 0700, made when missing; a link or a file in its place is refused. */
export function makeOwnFolder(folder: string): void {
  try {
    fs.mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw Failure.from(error);
    const stat = fs.lstatSync(folder);
    if (!stat.isDirectory() || stat.uid !== process.geteuid!()) {
      throw new Failure('FAILED_PRECONDITION', `${folder} is not a directory of user ${process.geteuid!()}`, { next: 'remove it' });
    }
  }
}
