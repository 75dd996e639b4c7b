/**
 * The warm spare: one standby that holds every mount and can become the server of any. Whoever needs a server takes it,
 * and another is started once that server serves. What it knows of the mounts is told to it as they come, change and go.
 *
 * During an upgrade the first spare of the new version comes up beside the old one, which then stays in reserve until every
 * mount is served by the new version. A new keeper stops the spare of the one before, and ends it once its own is warm.
 *
 *     <run_dir>/spare.json   who it is, and the other standbys that live, for the next keeper; root's, 0600, written before
 *                            it holds anything
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../error';
import { isAlive } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { identityShape } from '../server/envelope';
import { makeSpareDir } from './mount-dir';
import { killProcess } from './kill-process';
import { ownProgram } from './program';
import type { Program } from './program';
import type { Pings } from './pings';
import { StandbyProcess } from './server-process';
import type { StandbyOptions } from './server-process';

/** A spare that dies by itself is started again after this, ever later, and never given up. */
const RESTART_DELAY_MS = 100;
const RESTART_DELAY_MAX_MS = 60_000;
/** One that lived this long died of something new. */
const STABLE_MS = 60_000;
const LOG_BYTES_MAX = 1024 * 1024;
const READY_POLL_MS = 20;
const ANSWER_MS = 1_000;
/** Of what a process wrote before it ended: the end of a stack trace is enough to know it by. */
const LAST_WORDS_BYTES = 1_024;
/** Standbys that live at a time: the spare, the one in reserve, and some that are about to become servers. */
const STANDBYS_MAX = 64;

export interface SpareWorld extends Pick<StandbyOptions, 'runDir' | 'sockets' | 'log'> {
  readonly pings: Pings;
  /** A spare speaks another protocol: the files of this program were replaced by those of another version. */
  readonly foreign: (failure: Failure) => void;
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
  #program: Program = ownProgram();
  /** The last spare of the program before, during an upgrade. */
  #reserve: { readonly program: Program; readonly spare: StandbyProcess | null } | null = null;
  /** Spares of the keeper before, stopped: they hold its mounts until ours does. */
  #earlier: readonly ProcessIdentity[] = [];
  /** Processes that may hold mounts without being anybody's server. */
  #standbys: readonly ProcessIdentity[] = [];

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

  /** Stopped spares of the keeper before, to be ended when there is a warm one. */
  replaces(earlier: readonly ProcessIdentity[]): void {
    this.#earlier = earlier;
    this.#standbys = earlier;
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

  /** The program that new servers are started from. */
  get program(): Program {
    return this.#program;
  }

  /**
   * Has a standby of another program come up beside the spare and take its place once it is warm; the earlier spare stays
   * in reserve. FAILED_PRECONDITION with the reason when it does not come up in time, and then everything is as before.
   */
  async stage(program: Program, uid: number, gid: number, timeoutMs: number): Promise<void> {
    const { log, announceAll, runDir } = this.#world;
    const logFrom = logSize(runDir);
    const candidate = this.#spawn(uid, gid, program);
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `it was not ready within ${timeoutMs} ms`)), timeoutMs)));
      const up = async (): Promise<void> => {
        const { version } = await candidate.hello;
        if (version !== program.version) throw new Failure('FAILED_PRECONDITION', `${program.dir} holds version ${version}, not ${program.version}`, { next: 'run mesos-cvmfs upgrade of the version that is to stay' });
        await candidate.warm(timeoutMs);
        await candidate.ping(ANSWER_MS);
      };
      await Promise.race([up(), late]);
    } catch (error) {
      killProcess(candidate.identity.pid);
      await candidate.ended;
      const failure = Failure.from(error);
      const why = failure.code === 'NETWORK' ? `its process ended: ${lastWords(runDir, logFrom)}` : failure.message;
      throw new Failure('FAILED_PRECONDITION', `version ${program.version} does not come up: ${why}`, { cause: error, data: failure.data });
    } finally {
      clearTimeout(timer);
    }
    log.info('a spare of another version is ready', { version: program.version, pid: candidate.identity.pid });
    this.#reserve = { program: this.#program, spare: this.#process };
    this.#program = program;
    this.#wanted = { uid, gid };
    this.#process = candidate;
    this.#failures = 0;
    this.#attach(candidate);
    // Mounts that were made while it came up.
    announceAll(candidate);
    this.#isWarm(candidate);
  }

  /** Resolves when a spare for this user is warm; FAILED_PRECONDITION when there is none in time. */
  async readyFor(uid: number, gid: number, timeoutMs: number): Promise<void> {
    this.want(uid, gid);
    for (const giveUpAt = Date.now() + timeoutMs; !this.#ready; await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS))) {
      if (Date.now() > giveUpAt) throw new Failure('FAILED_PRECONDITION', `no spare of version ${this.#program.version} was ready within ${timeoutMs} ms`, { next: `see ${logFile(this.#world.runDir)}` });
    }
  }

  /** The upgrade has failed: from now on servers are of the program before, the first one the spare in reserve. */
  goBack(): void {
    const { pings, announceAll, log } = this.#world;
    const reserve = this.#reserve;
    if (reserve === null) return;
    log.warn('back to the program before', { version: reserve.program.version });
    this.#reserve = null;
    const failed = this.#process;
    this.#process = null;
    this.#ready = false;
    this.#failures = 0;
    this.#program = reserve.program;
    if (failed !== null) killProcess(failed.identity.pid);
    if (reserve.spare !== null && isAlive(reserve.spare.identity)) {
      this.#process = reserve.spare;
      this.#attach(reserve.spare);
      this.#ready = true;
      pings.watch('spare', reserve.spare);
      announceAll(reserve.spare);
    } else this.again();
  }

  /** The upgrade is done: nobody needs the spare in reserve. */
  settle(): void {
    const spare = this.#reserve?.spare ?? null;
    this.#reserve = null;
    if (spare !== null) killProcess(spare.identity.pid);
  }

  /** For the end of this keeper: standbys guard the mounts until the next one comes. */
  letGo(): void {
    this.settle();
    this.#wanted = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#process?.letGo();
    this.#process = null;
    this.#ready = false;
  }

  /** No more spares; the one that is there ends. */
  end(): void {
    this.settle();
    this.#wanted = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const spare = this.#process;
    this.#process = null;
    this.#ready = false;
    if (spare !== null) killProcess(spare.identity.pid);
    this.#endEarlier();
    fs.rmSync(recordFile(this.#world.runDir), { force: true });
  }

  #start(): void {
    if (this.#wanted === null || this.#process !== null) return;
    const { uid, gid } = this.#wanted;
    const { log } = this.#world;
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
    this.#attach(spare);
    spare.hello.catch((error: unknown) => {
      const failure = Failure.from(error);
      if (failure.code === 'FAILED_PRECONDITION') this.#world.foreign(failure);
    });
    spare.warm().then(
      () => this.#isWarm(spare),
      (error: unknown) => {
        if (this.#process === spare) log.warn('a spare was not warmed up', { error });
      },
    );
  }

  #isWarm(spare: StandbyProcess): void {
    if (this.#process !== spare) return;
    this.#ready = true;
    this.#world.pings.watch('spare', spare);
    this.#endEarlier();
  }

  #endEarlier(): void {
    for (const earlier of this.#earlier) if (isAlive(earlier)) killProcess(earlier.pid);
    this.#earlier = [];
  }

  /** What is done when the spare ends by itself. */
  #attach(spare: StandbyProcess): void {
    const { log } = this.#world;
    const since = Date.now();
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

  #spawn(uid: number, gid: number, program: Program = this.#program): StandbyProcess {
    const { runDir, sockets, log, announceAll } = this.#world;
    makeSpareDir(runDir, uid, gid);
    const logFd = fs.openSync(logFile(runDir), fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW, 0o600);
    try {
      if (fs.fstatSync(logFd).size > LOG_BYTES_MAX) fs.ftruncateSync(logFd, 0);
      const standby = StandbyProcess.start({ program, runDir, logFd, uid, gid, sockets, log });
      try {
        this.#standbys = [standby.identity, ...this.#standbys.filter(isAlive)].slice(0, STANDBYS_MAX);
        writeSpareRecord(runDir, this.#standbys);
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

function logFile(runDir: string): string {
  return path.join(runDir, 'spare.log');
}

function logSize(runDir: string): number {
  return fs.statSync(logFile(runDir), { throwIfNoEntry: false })?.size ?? 0;
}

/** The end of what standbys have written since their log had this size. */
function lastWords(runDir: string, from: number): string {
  const fd = fs.openSync(logFile(runDir), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  try {
    const { size } = fs.fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(LAST_WORDS_BYTES, Math.max(0, size - from)));
    fs.readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString().trim().replace(/\s+/g, ' ') || 'it said nothing';
  } finally {
    fs.closeSync(fd);
  }
}

function writeSpareRecord(runDir: string, standbys: readonly ProcessIdentity[]): void {
  const temp = `${recordFile(runDir)}.${process.pid}.tmp`;
  fs.writeFileSync(temp, JSON.stringify({ ...standbys[0], others: standbys.slice(1) }), { mode: 0o600 });
  fs.renameSync(temp, recordFile(runDir));
}

const recordShape = identityShape.extend({ others: z.array(identityShape).max(STANDBYS_MAX).default([]) });

/** The living standbys of an earlier keeper. Some may have become servers since. */
export function earlierStandbys(runDir: string): ProcessIdentity[] {
  try {
    const { others, ...spare } = recordShape.parse(JSON.parse(fs.readFileSync(recordFile(runDir), 'utf8')));
    return [spare, ...others].filter(isAlive);
  } catch {
    return [];
  }
}
