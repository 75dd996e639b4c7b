/**
 * The service manager's descriptor store (systemd: `FileDescriptorStoreMax=`): it holds a copy of each mount's descriptor
 * of /dev/fuse, so that the mounts live on when keeper, server and spare are dead all at once, and hands them to the next
 * keeper. To the manager: `FDSTORE=1`, `FDSTOREREMOVE=1` with `FDNAME=<id of the mount's record>`. From it, at the start,
 * descriptors from 3 up with `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` (sd_listen_fds(3)).
 *
 * `FDPOLL=0`: else the manager would wait on the descriptor too, and be woken by every request of every reader (measured:
 * 2,996 times by 3,000 uncached lstat).
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import type { Descriptors } from '../../native/descriptor';
import type { NotifySocket } from '../../native/notify-socket';

const FIRST_DESCRIPTOR = 3;
/** More than any manager passes (RLIMIT_NOFILE ends it earlier); a number beyond is no number of descriptors. */
const DESCRIPTORS_MAX = 1 << 20;
const ID = /^[0-9a-f]{12}$/;
/** What the manager takes for a name, FDNAME= in sd_notify(3). */
const NAME = /^[\x20-\x39\x3b-\x7e]{1,255}$/;
/** The manager's queue of messages may be full for a moment. */
const RETRY_MS = 500;

export interface DescriptorStore {
  /** True when a service manager listens: the keeper then stays although it has nothing to keep. */
  readonly managed: boolean;
  /**
   * What the manager kept, by the id of the mount. `devices` has `major:minor` of each mount that is still there: a
   * descriptor of another mount, of another kind or of nobody's is closed and taken out of the store. Once, at the start.
   */
  take(devices: ReadonlyMap<string, string>): Map<string, number>;
  /** Has a copy kept; what is there under this id already stays. Never throws: the mount works without. */
  put(id: string, fd: number): void;
  /** Before the last descriptor is closed, so that the manager does not keep a mount from ending. */
  remove(id: string): void;
  /** Tells the manager that the keeper listens, and in a few words what it does. */
  ready(status: string): void;
}

export interface StoreWorld {
  readonly environment: NodeJS.ProcessEnv;
  readonly pid: number;
  /** Null: nobody manages this process. */
  readonly socket: NotifySocket | null;
  readonly descriptors: Descriptors;
  readonly log: Logger;
}

/** One message to the manager. */
interface Word {
  readonly lines: readonly string[];
  readonly fds: readonly number[];
}

interface Handed {
  readonly fd: number;
  readonly name: string;
}

/** Descriptors that were passed to this very process; the variables are gone afterwards, as they are meant for one reader. */
function handedOver({ environment, pid, descriptors }: StoreWorld): Handed[] {
  const { LISTEN_PID: listenPid, LISTEN_FDS: listenFds = '', LISTEN_FDNAMES: listenNames = '' } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  // Variables of somebody else's start, inherited: these numbers are not what they say.
  if (listenPid !== String(pid) || !/^[0-9]{1,7}$/.test(listenFds) || Number(listenFds) > DESCRIPTORS_MAX) return [];
  const names = listenNames.split(':');
  return Array.from({ length: Number(listenFds) }, (_, i) => ({ fd: FIRST_DESCRIPTOR + i, name: names[i] ?? '' })).filter(({ fd }) => descriptors.closeOnExec(fd));
}

/** Why a descriptor cannot serve the mount of this device, null when it can. */
function unfit(fd: number, device: string, descriptors: Descriptors): string | null {
  const stat = fs.fstatSync(fd);
  if (!stat.isCharacterDevice() || stat.rdev !== fs.statSync('/dev/fuse').rdev) return 'it is not /dev/fuse';
  // Newer kernels say which connection it is (6.18 does).
  const connection = /^fuse_connection:\s*([0-9]+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  const [major = 0, minor = 0] = device.split(':').map(Number);
  if (connection !== undefined && Number(connection) !== major * 2 ** 20 + minor) return `it is of connection ${connection}, not of device ${device}`;
  return descriptors.hungUp(fd) ? 'its connection has ended' : null;
}

export function descriptorStore(world: StoreWorld): DescriptorStore {
  const { socket, log } = world;
  /** What the manager has not been told yet, by name; a removal makes all words before it needless. */
  const unsaid = new Map<string, readonly Word[]>();
  let timer: NodeJS.Timeout | null = null;
  let complained = false;

  function send({ lines, fds }: Word): boolean {
    try {
      return socket === null || socket.send(lines, fds);
    } catch (error) {
      if (!complained) log.warn('the service manager was not told; trying on', { error: Failure.from(error), lines: lines.join(' ') });
      complained = true;
      return false;
    }
  }

  function say(name: string, lines: readonly string[], fds: readonly number[] = []): void {
    const word: Word = { lines, fds };
    // In their turn: words under one name must not pass each other.
    if (socket === null || (unsaid.size === 0 && send(word))) return;
    unsaid.set(name, [...(fds.length > 0 ? (unsaid.get(name) ?? []) : []), word]);
    timer ??= setInterval(sayAgain, RETRY_MS).unref();
  }

  function sayAgain(): void {
    for (const [name, words] of unsaid) {
      for (const [at, word] of words.entries()) {
        if (send(word)) continue;
        unsaid.set(name, words.slice(at));
        return;
      }
      unsaid.delete(name);
    }
    if (timer !== null) clearInterval(timer);
    timer = null;
    complained = false;
  }

  function put(id: string, fd: number): void {
    say(id, ['FDSTORE=1', `FDNAME=${id}`, 'FDPOLL=0'], [fd]);
  }

  function remove(name: string): void {
    if (NAME.test(name)) say(name, ['FDSTOREREMOVE=1', `FDNAME=${name}`]);
  }

  return {
    managed: socket !== null,
    put,
    remove,
    ready: (status) => say('', ['READY=1', `STATUS=${status.replace(/\s+/g, ' ')}`]),
    take(devices) {
      const kept = new Map<string, number>();
      const unclean = new Set<string>();
      for (const { fd, name } of handedOver(world)) {
        const device = ID.test(name) ? devices.get(name) : undefined;
        const why = device === undefined ? 'no mount has this name' : kept.has(name) ? 'it was kept twice' : unfit(fd, device, world.descriptors);
        if (why === null) {
          kept.set(name, fd);
          continue;
        }
        log.warn('a stored descriptor is of no use', { name, fd, why });
        fs.closeSync(fd);
        unclean.add(name);
      }
      // A name stands for all descriptors under it, so the good one is handed back after its bad ones were taken out.
      for (const name of unclean) {
        remove(name);
        const good = kept.get(name);
        if (good !== undefined) put(name, good);
      }
      return kept;
    },
  };
}
