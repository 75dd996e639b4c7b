/**
 * The warm spare: one standby that holds every mount and can become the server of any. Whoever needs a server takes it,
 * and another is started once that server serves. What it knows of the mounts is told to it as they come, change and go.
 *
 *     <run_dir>/spare.json   who it is, for the next keeper; root's, 0600, written before it holds anything
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { identityShape } from '../server/envelope';
import { makeSpareDir } from './mount-dir';
import { killProcess } from './kill-process';
import type { Pings } from './pings';
import { StandbyProcess } from './server-process';
import type { StandbyOptions } from './server-process';

/** A spare that dies by itself is started again after this, ever later, and never given up. */
const RESTART_DELAY_MS = 100;
const RESTART_DELAY_MAX_MS = 60_000;
/** One that lived this long died of something new. */
const STABLE_MS = 60_000;
const LOG_BYTES_MAX = 1024 * 1024;

export interface SpareWorld extends Pick<StandbyOptions, 'runDir' | 'sockets' | 'log'> {
  readonly pings: Pings;
  /** Tells a new process every mount that it could serve. */
  readonly announceAll: (standby: StandbyProcess) => void;
}

export class Spare {
  readonly #world: SpareWorld;
  #process: StandbyProcess | null = null;
  #ready = false;
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;
  #wanted: { readonly uid: number; readonly gid: number } | null = null;

  constructor(world: SpareWorld) {
    this.#world = world;
  }

  /** The spare's process, when there is one; for telling it of mounts. */
  get process(): StandbyProcess | null {
    return this.#process;
  }

  /** True once it is warmed up. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Sees to it that there is a spare for this user, now or after the delay that its predecessors have earned. */
  want(uid: number, gid: number): void {
    this.#wanted = { uid, gid };
    const other = this.#process;
    if (other !== null && (other.uid !== uid || other.gid !== gid)) {
      this.#process = null;
      this.#ready = false;
      this.#world.pings.forget('spare');
      killProcess(other.identity.pid);
    }
    if (this.#process !== null || this.#timer !== null) return;
    const delay = this.#failures === 0 ? 0 : Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * 2 ** this.#failures);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#start();
    }, delay);
  }

  /** The same for the user of before: the spare was taken. */
  again(): void {
    if (this.#wanted !== null) this.want(this.#wanted.uid, this.#wanted.gid);
  }

  /** A standby for this user to become a server: the spare if it is one, else a process that is started now. */
  take(uid: number, gid: number): StandbyProcess {
    const spare = this.#process;
    if (spare !== null && spare.uid === uid && spare.gid === gid) {
      this.#process = null;
      this.#ready = false;
      this.#world.pings.forget('spare');
      return spare;
    }
    return this.#spawn(uid, gid);
  }

  /** No more spares; the one that is there ends. */
  end(): void {
    this.#wanted = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const spare = this.#process;
    this.#process = null;
    this.#ready = false;
    if (spare !== null) killProcess(spare.identity.pid);
    fs.rmSync(recordFile(this.#world.runDir), { force: true });
  }

  #start(): void {
    if (this.#wanted === null || this.#process !== null) return;
    const { uid, gid } = this.#wanted;
    const { log } = this.#world;
    const since = Date.now();
    let spare: StandbyProcess;
    try {
      spare = this.#spawn(uid, gid);
    } catch (error) {
      log.error('a spare could not be started', { error });
      this.#failures += 1;
      return this.want(uid, gid);
    }
    this.#process = spare;
    this.#ready = false;
    spare.warm().then(
      () => {
        if (this.#process !== spare) return;
        this.#ready = true;
        this.#world.pings.watch('spare', spare);
      },
      (error: unknown) => {
        if (this.#process === spare) log.warn('a spare was not warmed up', { error });
      },
    );
    void spare.ended.then(() => {
      if (this.#process !== spare) return;
      this.#process = null;
      // One that was warm died of something else than its own start, such as a signal: the next is not to wait for that.
      this.#failures = this.#ready || Date.now() - since > STABLE_MS ? 0 : this.#failures + 1;
      this.#ready = false;
      if (this.#wanted === null) return;
      log.warn('the spare ended; another is started', { pid: spare.identity.pid, failures: this.#failures });
      this.want(this.#wanted.uid, this.#wanted.gid);
    });
  }

  #spawn(uid: number, gid: number): StandbyProcess {
    const { runDir, sockets, log, announceAll } = this.#world;
    makeSpareDir(runDir, uid, gid);
    const logFd = fs.openSync(path.join(runDir, 'spare.log'), fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW, 0o600);
    try {
      if (fs.fstatSync(logFd).size > LOG_BYTES_MAX) fs.ftruncateSync(logFd, 0);
      const standby = StandbyProcess.start({ runDir, logFd, uid, gid, sockets, log });
      try {
        writeSpareRecord(runDir, standby.identity);
      } catch (error) {
        // With no room for the record there would be one more process at each attempt.
        killProcess(standby.identity.pid);
        throw error;
      }
      announceAll(standby);
      return standby;
    } finally {
      fs.closeSync(logFd);
    }
  }
}

function recordFile(runDir: string): string {
  return path.join(runDir, 'spare.json');
}

function writeSpareRecord(runDir: string, identity: ProcessIdentity): void {
  const temp = `${recordFile(runDir)}.${process.pid}.tmp`;
  fs.writeFileSync(temp, JSON.stringify(identity), { mode: 0o600 });
  fs.renameSync(temp, recordFile(runDir));
}

/** The living spare of an earlier keeper. It may have become a server since. */
export function earlierSpare(runDir: string): ProcessIdentity | null {
  try {
    const parsed = identityShape.safeParse(JSON.parse(fs.readFileSync(recordFile(runDir), 'utf8')));
    return parsed.success && isAlive(parsed.data) ? parsed.data : null;
  } catch {
    return null;
  }
}
