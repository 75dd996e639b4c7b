/**
 * Servers that an earlier keeper started: found through what it and they wrote, believed after a look at the process, and
 * watched from outside.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../error';
import { ControlClient } from '../control/control-client';
import { controlPath } from '../control/control-path';
import type { ProcessWatch } from '../../native/process-watch';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { INDEX_FD, progressShape } from '../server/envelope';
import type { Progress } from '../server/envelope';
import { readServer } from '../server/holder';
import type { ServerProcess } from './server-process';

const LOOK_MS = 200;

export class AdoptedServer implements ServerProcess {
  readonly identity: ProcessIdentity;
  readonly version: string | null;
  readonly ended: Promise<{ readonly gone: boolean }>;
  readonly #dir: string;
  #control: ControlClient | null = null;

  constructor(identity: ProcessIdentity, dir: string, watch: ProcessWatch) {
    this.identity = identity;
    this.#dir = dir;
    const said = readServer(dir);
    this.version = said?.pid === identity.pid ? said.version : null;
    this.ended = this.#watched(watch);
  }

  async ping(timeoutMs: number): Promise<Progress> {
    try {
      this.#control ??= await ControlClient.connect(controlPath(this.#dir), 'file system server');
      this.#control.unref();
      return progressShape.parse(await this.#control.call('ping', {}, timeoutMs));
    } catch (error) {
      this.#control?.close();
      this.#control = null;
      throw error;
    }
  }

  async #watched(watch: ProcessWatch): Promise<{ gone: boolean }> {
    // A process that cannot be watched (an old kernel, no descriptor left) is looked at instead: its mount needs a successor.
    const over = watch.ended(this.identity.pid).catch(() => untilGone(this.identity));
    // Looked at after the watch began, so that the number cannot have become another process' in between.
    if (isAlive(this.identity)) await over;
    this.#control?.close();
    return { gone: false };
  }
}

async function untilGone(identity: ProcessIdentity): Promise<void> {
  while (isAlive(identity)) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

/**
 * A copy of a descriptor of /dev/fuse that a living process holds; throws when it holds none under this number. What is
 * there instead is not asked: fstat(2) of a file below a mount of ours waits for its server, for ever if that wants it to.
 */
export function fuseDescriptorOf(identity: ProcessIdentity, number: number, descriptorOf: (pid: number, fd: number) => number): number {
  const fd = descriptorOf(identity.pid, number);
  if (mountId(fd) !== deviceMountId() || fs.fstatSync(fd).rdev !== fs.statSync('/dev/fuse').rdev) {
    fs.closeSync(fd);
    throw new Failure('FAILED_PRECONDITION', `descriptor ${number} of process ${identity.pid} is not /dev/fuse`);
  }
  // Between reading its number and asking it, the process may have ended and another have taken the number.
  if (isAlive(identity)) return fd;
  fs.closeSync(fd);
  throw new Failure('FAILED_PRECONDITION', `process ${identity.pid} has ended`);
}

/** The mount, of all namespaces, that an open file of this process lies on; proc(5). */
function mountId(fd: number): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
}

function deviceMountId(): string | undefined {
  const fd = fs.openSync('/dev/fuse', 'r+');
  try {
    return mountId(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * True when the process lives and has the mount's index list open and locked: then it, and nobody else, reads requests.
 * Told by the kernel's own tables alone: whatever the process has open under that number is never touched.
 */
export function holdsLock(identity: ProcessIdentity, dir: string): boolean {
  try {
    const index = path.join(fs.realpathSync(dir), 'index');
    const isIndex = fs.readlinkSync(`/proc/${identity.pid}/fd/${INDEX_FD}`) === index;
    return isIndex && /^lock:.*FLOCK.*WRITE/m.test(fs.readFileSync(`/proc/${identity.pid}/fdinfo/${INDEX_FD}`, 'latin1')) && isAlive(identity);
  } catch {
    return false;
  }
}
