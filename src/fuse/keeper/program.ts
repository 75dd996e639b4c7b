/**
 * One installation of this program on disk, of this version or of another: what a keeper starts its servers, its spare and
 * its successor from. Files of an installation may be replaced while a keeper runs that was loaded from it, so what a
 * process really is, it says itself (`hello` in server/envelope.ts).
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import { VERSION } from '../../version';

export interface Program {
  readonly version: string;
  /** Absolute path of Node. */
  readonly node: string;
  /** Folder with `bin/mesos-cvmfs` and `dist`. */
  readonly dir: string;
}

/** The installation that this process was loaded from. */
export function ownProgram(): Program {
  return { version: VERSION, node: process.execPath, dir: path.resolve(__dirname, '../../../..') };
}

export function serverFile({ dir }: Program): string {
  return path.join(dir, 'dist/src/fuse/server/start.js');
}

export function commandFile({ dir }: Program): string {
  return path.join(dir, 'bin/mesos-cvmfs');
}

export function isSameProgram(a: Program, b: Program): boolean {
  return a.version === b.version && a.dir === b.dir && a.node === b.node;
}

/**
 * The program with its links resolved. PERMISSION_DENIED when somebody else than root could change what it is: every
 * folder on the way belongs to root and is writable for nobody else, or has the sticky bit. NOT_FOUND when it lacks a file.
 */
export function checkProgram(program: Program): Program {
  const dir = resolved(program.dir);
  const node = resolved(program.node);
  for (const file of [serverFile({ ...program, dir }), commandFile({ ...program, dir })]) checkOwner(resolved(file));
  // The Node that runs already is not made worse by running once more.
  if (node !== process.execPath) checkOwner(node);
  return { version: program.version, node, dir };
}

function resolved(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch (error) {
    throw new Failure('NOT_FOUND', `${file} cannot be found`, { cause: error, next: 'install mesos-cvmfs anew' });
  }
}

function checkOwner(file: string): void {
  for (let at = file; ; at = path.dirname(at)) {
    const { uid, mode } = fs.statSync(at);
    const shared = (mode & 0o022) !== 0 && !(fs.constants.S_IFDIR === (mode & fs.constants.S_IFMT) && (mode & 0o1000) !== 0);
    if (uid !== 0 || shared) throw new Failure('PERMISSION_DENIED', `${at} can be changed by others than root, and ${file} is to run as root`, { next: `run: chown root ${at} && chmod go-w ${at}` });
    if (at === path.dirname(at)) return;
  }
}
