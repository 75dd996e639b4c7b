/**
 * A few warm helper processes for calls that can hang: Provision must not pay for a process (about 50 ms), and must not
 * wait behind a call that hangs.
 *
 * A helper that misses its deadline is killed and replaced. Most die at once; one that waits for a request which a file
 * system server has already taken cannot die before that is answered. Not more than `maxStuck` such are tolerated; then
 * mounts are refused until one is gone.
 *
 * So that callers of a repository that hangs hold up nobody else before their deadline: unmounts go first, a repository has
 * at most `mountsPerRepository` mounts under way, and when nothing ends for `growAfterMs` more helpers are started, up to
 * `maxHelpers`, the last of which is never given to a mount. What a stuck one mounts in the end does no harm: mount(2) has looked up its
 * target at the beginning, and the kernel refuses to mount on a directory that was removed since (ENOENT).
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { extname, join } from 'node:path';
import { Failure } from '../../src/error';
import type { Logger } from '../../src/log/logger';
import type { FromHelper } from './main';
import type { Operation } from './operations';

export interface MountHelperOptions {
  readonly logger: Logger;
  /** Always there. */
  readonly helpers?: number;
  /** While others hang. */
  readonly maxHelpers?: number;
  readonly growAfterMs?: number;
  readonly mountsPerRepository?: number;
  readonly maxStuck?: number;
  readonly maxQueued?: number;
  /** How long a killed helper is waited for before its operation is given up. */
  readonly graceMs?: number;
  /** A helper was replaced, for the metrics. */
  readonly onRestart?: () => void;
  /** The program of a helper and Node's own arguments for it. */
  readonly script?: string;
  readonly execArgv?: readonly string[];
}

/** What carries out operations; the pool, or a fake. */
export interface MountOperations {
  /** Resolves to the number of mounts made or taken away. DEADLINE_EXCEEDED after `timeoutMs`, waiting in the queue included. */
  run(operation: Operation, timeoutMs: number): Promise<number>;
}

interface Job {
  readonly operation: Operation;
  readonly resolve: (count: number) => void;
  readonly reject: (failure: Failure) => void;
  timer: NodeJS.Timeout;
}

interface Helper {
  readonly child: ChildProcess;
  ready: boolean;
  /** Not needed any more; its end is no event. */
  retired: boolean;
  job: Job | undefined;
}

/** A helper that cannot even start is tried again no sooner than this. */
const RESPAWN_MS = 500;

export class MountHelpers implements MountOperations {
  readonly #options: Required<Omit<MountHelperOptions, 'execArgv'>> & { execArgv: readonly string[] };
  readonly #helpers = new Set<Helper>();
  readonly #stuck = new Set<Helper>();
  readonly #queue: Job[] = [];
  #closed = false;
  #respawn: NodeJS.Timeout | undefined;
  #grow: NodeJS.Timeout | undefined;

  constructor(options: MountHelperOptions) {
    this.#options = {
      helpers: 2,
      maxHelpers: 6,
      growAfterMs: 500,
      mountsPerRepository: 2,
      maxStuck: 8,
      maxQueued: 1024,
      graceMs: 1000,
      onRestart: () => undefined,
      script: join(__dirname, `main${extname(__filename)}`),
      execArgv: [...process.execArgv, '--max-old-space-size=32'],
      ...options,
    };
  }

  /** Starts the helpers; operations queue until the first one is ready. */
  start(): void {
    while (this.#helpers.size < this.#options.helpers) this.#spawn();
  }

  get stuck(): number {
    return this.#stuck.size;
  }

  /** Process ids of the helpers that take work, for status and tests. */
  get pids(): number[] {
    return [...this.#helpers].map((helper) => helper.child.pid).filter((pid): pid is number => pid !== undefined);
  }

  run(operation: Operation, timeoutMs: number): Promise<number> {
    if (this.#closed) return Promise.reject(new Failure('CANCELLED', 'the service is stopping'));
    // Twice as many for unmounts: repositories that hang must not keep the containers of others from being destroyed.
    if (this.#stuck.size >= this.#options.maxStuck * (operation.kind === 'unmount' ? 2 : 1)) {
      return Promise.reject(
        new Failure('RESOURCE_EXHAUSTED', `${this.#stuck.size} mount helpers hang in calls that do not return`, { next: 'see which repository does not answer (mesos-cvmfs status)' }),
      );
    }
    if (this.#queue.length >= this.#options.maxQueued) return Promise.reject(new Failure('RESOURCE_EXHAUSTED', `${this.#queue.length} mounts and unmounts are waiting already`, { next: 'try again later' }));
    return new Promise((resolve, reject) => {
      const job: Job = { operation, resolve, reject, timer: setTimeout(() => this.#expired(job, timeoutMs), timeoutMs) };
      const firstMount = operation.kind === 'unmount' ? this.#queue.findIndex((queued) => queued.operation.kind !== 'unmount') : -1;
      this.#queue.splice(firstMount < 0 ? this.#queue.length : firstMount, 0, job);
      this.#dispatch();
    });
  }

  /** Ends the helpers; waits until those that can die are dead. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#respawn);
    clearTimeout(this.#grow);
    for (const job of this.#queue.splice(0)) this.#settle(job, () => job.reject(new Failure('CANCELLED', 'the service is stopping')));
    const gone = [...this.#helpers].map((helper) => new Promise<void>((resolve) => helper.child.once('exit', () => resolve())));
    for (const helper of this.#helpers) helper.child.kill('SIGKILL');
    await Promise.race([Promise.all(gone), new Promise<void>((resolve) => setTimeout(resolve, this.#options.graceMs).unref())]);
  }

  #spawn(): void {
    const { script, execArgv } = this.#options;
    // A session of its own: Ctrl-C at a terminal is for the service, which has still to finish what it began.
    const child = fork(script, [], { execArgv: [...execArgv], serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: {}, cwd: '/', detached: true });
    const helper: Helper = { child, ready: false, retired: false, job: undefined };
    this.#helpers.add(helper);
    child.on('message', (message: FromHelper) => this.#answered(helper, message));
    child.on('error', (err) => this.#options.logger.error('a mount helper failed', { pid: child.pid, err }));
    child.on('exit', (code, signal) => this.#exited(helper, code, signal));
    // They keep nothing running by themselves; whoever waits for an operation has its timer.
    child.unref();
    child.channel?.unref();
  }

  #answered(helper: Helper, message: FromHelper): void {
    if (message.ready) helper.ready = true;
    else if (helper.job !== undefined) {
      const job = helper.job;
      helper.job = undefined;
      this.#settle(job, () => (message.failure === undefined ? job.resolve(message.count ?? 0) : job.reject(Failure.fromJSON(message.failure))));
    }
    this.#dispatch();
  }

  #settle(job: Job, how: () => void): void {
    clearTimeout(job.timer);
    how();
  }

  #dispatch(): void {
    for (const helper of this.#helpers) {
      if (!helper.ready || helper.job !== undefined) continue;
      const at = this.#queue.findIndex((job) => this.#mayRun(job));
      const [job] = at < 0 ? [] : this.#queue.splice(at, 1);
      if (job === undefined) {
        this.#retireSurplus(helper);
        continue;
      }
      helper.job = job;
      // An error here is followed by 'exit', which answers the job.
      helper.child.send(job.operation, () => undefined);
    }
    clearTimeout(this.#grow);
    this.#grow = undefined;
    const starting = [...this.#helpers].some(({ ready }) => !ready);
    if (this.#closed || starting || this.#helpers.size >= this.#options.maxHelpers || !this.#queue.some((job) => this.#mayRun(job))) return;
    // Whatever ends in the meantime comes through here again and begins the wait anew.
    this.#grow = setTimeout(() => {
      this.#spawn();
      this.#dispatch();
    }, this.#options.growAfterMs).unref();
  }

  #mayRun({ operation }: Job): boolean {
    if (!('source' in operation)) return true;
    const mounts = [...this.#helpers].flatMap(({ job }) => (job === undefined || !('source' in job.operation) ? [] : [job.operation.source.mountpoint]));
    return mounts.length < this.#options.maxHelpers - 1 && mounts.filter((mountpoint) => mountpoint === operation.source.mountpoint).length < this.#options.mountsPerRepository;
  }

  /** As long as others are busy, perhaps for long, the one that is free is kept. */
  #retireSurplus(helper: Helper): void {
    if ([...this.#helpers].filter(({ job }) => job === undefined).length <= this.#options.helpers) return;
    this.#helpers.delete(helper);
    helper.retired = true;
    helper.child.disconnect();
  }

  #expired(job: Job, timeoutMs: number): void {
    const late = new Failure('DEADLINE_EXCEEDED', `${job.operation.kind} of ${job.operation.target.toString()} did not end within ${timeoutMs} ms`, {
      next: 'see whether the repository answers (mesos-cvmfs status)',
    });
    const queued = this.#queue.indexOf(job);
    if (queued >= 0) {
      this.#queue.splice(queued, 1);
      job.reject(late);
      return;
    }
    const helper = [...this.#helpers].find((one) => one.job === job);
    if (helper === undefined) return;
    this.#helpers.delete(helper);
    this.#stuck.add(helper);
    helper.child.kill('SIGKILL');
    this.#options.logger.warn('a mount helper hangs and is replaced', { pid: helper.child.pid, operation: job.operation.kind, target: job.operation.target.toString(), timeoutMs });
    const grace = setTimeout(() => job.reject(late), this.#options.graceMs);
    helper.child.once('exit', () => {
      clearTimeout(grace);
      job.reject(late);
    });
    this.#replace();
  }

  #exited(helper: Helper, code: number | null, signal: string | null): void {
    if (this.#stuck.delete(helper) || helper.retired) return;
    this.#helpers.delete(helper);
    if (helper.job !== undefined) {
      const job = helper.job;
      this.#settle(job, () => job.reject(new Failure('SYSTEM', `a mount helper died during ${job.operation.kind} of ${job.operation.target.toString()} (${signal ?? `exit code ${code}`})`, { next: 'try again' })));
    }
    if (this.#closed) return;
    this.#options.logger.warn('a mount helper ended and is replaced', { pid: helper.child.pid, code, signal });
    if (helper.ready) this.#replace();
    else this.#respawn ??= setTimeout(() => ((this.#respawn = undefined), this.#replace()), RESPAWN_MS).unref();
  }

  #replace(): void {
    if (this.#closed) return;
    this.#options.onRestart();
    this.start();
    this.#dispatch();
  }
}
