/**
 * The directories of a host and who owns them. A readable cache would go round the file modes inside the images, a
 * foreign one could be filled with anything, and a run_dir that others write would let them take over sockets; so what is
 * missing is made with the right mode, and what is wider or somebody else's is refused with the command that mends it.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../error';
import type { ConfigFiles } from './host-files';
import type { ConfigWarning } from './origin';

export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface DirectoryRule {
  /** Key of the configuration, for messages. */
  readonly key: string;
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who runs this process: `{uid: process.geteuid(), gid: process.getegid()}`. */
export interface ProcessIds {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The user that servers run as, from /etc/passwd. Without that user (a checkout), or when this process is not root and so
 * can not change users, it is the process' own, the former with a warning.
 */
export function findServerUser(name: string, files: ConfigFiles, process: ProcessIds): { readonly user: ServerUser; readonly warning?: ConfigWarning } {
  if (process.uid !== 0) return { user: { name: String(process.uid), ...process } };
  for (const line of (files.read('/etc/passwd') ?? '').split('\n')) {
    const [login, , uid, gid] = line.split(':');
    if (login === name && /^[0-9]{1,10}$/.test(uid ?? '') && /^[0-9]{1,10}$/.test(gid ?? '')) return { user: { name, uid: Number(uid), gid: Number(gid) } };
  }
  return {
    user: { name: 'root', uid: 0, gid: 0 },
    warning: {
      code: 'SERVER_USER_ABSENT',
      title: 'file system servers run as root',
      severity: 'warning',
      text: `the user ${name} (server_user) does not exist, so that what parses foreign data runs as root; make it with: useradd --system --no-create-home --shell /usr/sbin/nologin ${name}`,
    },
  };
}

/** The rules for the directories of a host; `stateDir` only where `serve` runs, `mount` alone writes nothing there. */
export function directoryRules(dirs: { readonly stateDir?: string; readonly runDir: string; readonly cacheDir: string }, user: ServerUser, process: ProcessIds): DirectoryRule[] {
  return [
    ...(dirs.stateDir === undefined ? [] : [{ key: 'state_dir', path: dirs.stateDir, mode: 0o700, ...process }]),
    { key: 'run_dir', path: dirs.runDir, mode: 0o711, ...process },
    { key: 'cache.dir', path: dirs.cacheDir, mode: 0o700, uid: user.uid, gid: user.gid },
  ];
}

/** Makes or verifies one directory. Throws FAILED_PRECONDITION with the cure. */
export function prepareDirectory(rule: DirectoryRule, process: ProcessIds): void {
  fs.mkdirSync(path.dirname(rule.path), { recursive: true, mode: 0o755 });
  let made = false;
  try {
    fs.mkdirSync(rule.path, { mode: 0o700 });
    made = true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw Failure.from(error, `${rule.key}: can not make ${rule.path}`);
  }
  const fd = open(rule);
  try {
    const stat = fs.fstatSync(fd);
    const mode = stat.mode & 0o7777;
    if ((mode & ~rule.mode) !== 0 && !made) throw refusal(rule, `has mode ${octal(mode)}, which is wider than ${octal(rule.mode)}`, `run: chmod ${octal(rule.mode)} ${rule.path}`);
    if (stat.uid !== rule.uid) {
      // An empty directory that root made for the purpose is as good as none; one with contents may hold planted objects.
      const ours = made || (stat.uid === process.uid && process.uid === 0 && fs.readdirSync(rule.path).length === 0);
      if (!ours) throw refusal(rule, `belongs to user ${stat.uid}, not to ${rule.uid}`, `run: chown ${rule.uid}:${rule.gid} ${rule.path}, after a look at what is in it, or choose another ${rule.key}`);
      fs.fchownSync(fd, rule.uid, rule.gid);
    }
    if (made || mode !== rule.mode) fs.fchmodSync(fd, rule.mode);
  } finally {
    fs.closeSync(fd);
  }
}

/** A link in the last place is refused: it could be turned elsewhere between this check and the use. */
function open(rule: DirectoryRule): number {
  try {
    return fs.openSync(rule.path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (fs.lstatSync(rule.path, { throwIfNoEntry: false })?.isSymbolicLink()) throw refusal(rule, 'is a symbolic link', `set ${rule.key} to the directory that it points to`);
    if (code === 'ENOTDIR') throw refusal(rule, 'is not a directory', `move it away, or choose another ${rule.key}`);
    throw Failure.from(error, `${rule.key}: can not open ${rule.path}`);
  }
}

function refusal(rule: DirectoryRule, what: string, next: string): Failure {
  return new Failure('FAILED_PRECONDITION', `${rule.key}: ${rule.path} ${what}`, { next, data: { key: rule.key, path: rule.path } });
}

function octal(mode: number): string {
  return `0${mode.toString(8)}`;
}
