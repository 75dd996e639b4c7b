/** The directories of this host: there or to be made, of the right owner, and not open to others. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Config } from '../../config/config';
import { directoryRules, findServerUser } from '../../config/directories';
import type { DirectoryRule } from '../../config/directories';
import { hostFiles } from '../../config/host-files';
import type { MountEntry } from '../../native/mountinfo';
import { hangingMountOn } from './careful-path';
import type { Check, Report } from './finding';

const octal = (mode: number): string => `0${(mode & 0o7777).toString(8)}`;

/** The same rules as `serve` keeps, without making anything. */
export function directoryChecks(config: Config, table: readonly MountEntry[]): Check[] {
  const root = { uid: 0, gid: 0 };
  const { user } = findServerUser(config.serverUser, hostFiles, root);
  return directoryRules({ stateDir: config.stateDir, runDir: config.runDir, cacheDir: config.cache.dir }, user, root).map((rule) => ({ name: rule.key, run: (report) => checkDirectory(rule, table, report) }));
}

async function checkDirectory(rule: DirectoryRule, table: readonly MountEntry[], report: Report): Promise<void> {
  const hanging = hangingMountOn(table, rule.path);
  if (hanging !== undefined) return report.problem(`lies on ${hanging.type} at ${hanging.mountpoint.toString()}`, `set ${rule.key} to a directory on a local disk`, rule.path);
  const stat = await lstat(rule.path);
  if (stat === 'hidden') return report.skipped('only root may look', rule.path);
  if (stat === undefined) return report.ok('is made at the first start', rule.path);
  if (stat.isSymbolicLink()) return report.problem('is a symbolic link', `set ${rule.key} to the directory that it points to`, rule.path);
  if (!stat.isDirectory()) return report.problem('is not a directory', `move it away, or choose another ${rule.key}`, rule.path);
  if ((stat.mode & 0o7777 & ~rule.mode) !== 0) report.problem(`has mode ${octal(stat.mode)}, which is wider than ${octal(rule.mode)}`, `run: chmod ${octal(rule.mode)} ${rule.path}`, rule.path);
  else if (stat.uid !== rule.uid && !(await isFresh(rule.path, stat))) report.problem(`belongs to user ${stat.uid}, not to ${rule.uid}`, `run: chown ${rule.uid}:${rule.gid} ${rule.path}, after a look at what is in it`, rule.path);
  else report.ok(`mode ${octal(stat.mode)}, of user ${stat.uid}`, rule.path);
  const open = await openAbove(rule.path);
  if (open !== undefined) report.problem(`${open} above it can be written by everybody, who could put another directory in its place`, `run: chmod o-w ${open}, or choose another ${rule.key}`, rule.path);
}

async function lstat(file: string): Promise<fs.Stats | 'hidden' | undefined> {
  try {
    return await fs.promises.lstat(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES') return 'hidden';
    throw error;
  }
}

/** An empty directory of root's is given to its owner at the first start. */
async function isFresh(dir: string, stat: fs.Stats): Promise<boolean> {
  return stat.uid === 0 && (await fs.promises.readdir(dir).catch(() => ['unknown'])).length === 0;
}

/** A directory on the way that everybody may write, and that has no sticky bit, as /tmp has. */
async function openAbove(dir: string): Promise<string | undefined> {
  for (let at = path.dirname(dir); ; at = path.dirname(at)) {
    const stat = await lstat(at);
    if (stat !== undefined && stat !== 'hidden' && (stat.mode & 0o1002) === 0o002) return at;
    if (at === '/') return undefined;
  }
}
