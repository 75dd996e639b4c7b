/**
 * Does what the schedule says, to real processes. Two things are waited for before a blow falls: that every victim is
 * there, and that somebody is left who holds the mount afterwards, since all holders dead at once is a dead mount by
 * design. Who has died is brought back the way it is on a host: the service by its manager, the keeper by the next
 * command, the rest by the keeper.
 */
import { KeeperClient } from '../../src/fuse/control/keeper-client';
import type { FaultScene } from './fault-scene';
import { isAlive, OurProcesses } from '../support/our-processes';
import type { FaultEvent, Role, ScheduledEvent } from './schedule';
import { nowUs } from './tally';
import type { Tally } from './tally';

const LOOK_MS = 5;
/** A victim that is not there after this long has not been brought back. */
const THERE_MS = 60_000;
const TAKEOVER_MS = 60_000;
const COMMAND_MS = 60_000;
/** Readers are looked at this often, and said to hang after that long: a read of 60 s has failed. */
const SILENT_MS = 75_000;

/** A keeper that does not say so in this time has no spare that is ready. */
const ASK_MS = 300;
/** What waits for the network goes on waiting some time after its fault. */
const QUIET_AFTER_MS = 5_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One that is gone meanwhile was ended by a keeper that takes over. */
function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export class Chaos {
  readonly counts: Record<string, number> = {};
  readonly killed: Record<string, number> = {};
  processes = 0;
  /** Milliseconds in which events waited for victims and survivors. */
  waitedMs = 0;
  readonly #processes: OurProcesses;
  readonly #background = new Set<Promise<void>>();
  readonly #chains = new Map<string, Promise<void>>();
  #network = 0;
  #faults = 0;
  #faultEnded = 0;
  #makeRoom: (() => void) | null = null;

  constructor(
    private readonly scene: FaultScene,
    private readonly tally: Tally,
    private readonly signal: AbortSignal,
    private readonly log: (text: string) => void,
  ) {
    this.#processes = new OurProcesses(scene.cli.host.runDir);
  }

  /** Until the end of the schedule, the time, or the first failure when `stopAtFailure`. Everything is whole again afterwards. */
  async run(events: readonly ScheduledEvent[], limits: { readonly untilMs: number; readonly stopAtFailure: boolean }): Promise<void> {
    for (const { pauseMs, event } of events) {
      await sleep(pauseMs);
      if (this.signal.aborted || Date.now() > limits.untilMs || (limits.stopAtFailure && this.tally.errors.length > 0)) break;
      const silent = this.tally.silent(SILENT_MS);
      if (silent.length > 0) {
        this.tally.trouble(`readers hang: ${silent.join(', ')}`);
        break;
      }
      await this.#do(event);
    }
    this.scene.network('flow', 0);
    this.#makeRoom?.();
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  async #do(event: FaultEvent): Promise<void> {
    if (event.kind === 'kill') return this.#kill(event);
    this.#count(event.kind === 'network' ? `network ${event.how}` : event.kind);
    if (event.kind === 'publish') this.#after('publish', () => this.scene.publish());
    else if (event.kind === 'drop-caches') this.#after('drop', () => this.#command('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']));
    else if (event.kind === 'replace') this.#after(`container ${event.container}`, () => this.#replace(event.container));
    else if (event.kind === 'network') this.#after('network', () => this.#disturb(event));
    else this.#after('fill', () => this.#fill(event.forMs));
  }

  async #kill({ victims, reviveMs }: FaultEvent & { kind: 'kill' }): Promise<void> {
    const began = Date.now();
    const pids = new Map<Role, number>();
    for (;;) {
      pids.clear();
      for (const role of victims) {
        const pid = this.#pidOf(role);
        if (pid !== null && isAlive(pid)) pids.set(role, pid);
      }
      if (pids.size === victims.length && this.#survives([...pids.values()])) break;
      if (Date.now() - began > THERE_MS) return this.tally.trouble(`no ${victims.join(' and ')} to kill with a survivor after ${THERE_MS} ms; there are ${JSON.stringify([...pids])}, holders ${this.#processes.holders().join(', ')}`);
      if (this.signal.aborted) return;
      await sleep(LOOK_MS);
    }
    this.waitedMs += Date.now() - began;
    const warm = !victims.includes('spare') && (await this.#spareIsReady());
    const quiet = this.#faults === 0 && Date.now() - this.#faultEnded > QUIET_AFTER_MS;
    // Asking took a moment, in which somebody may have died of the last blow.
    if (![...pids.values()].every(isAlive) || !this.#survives([...pids.values()])) return this.#kill({ kind: 'kill', victims, reviveMs });
    const what = [...victims].sort().join('+');
    const atUs = nowUs();
    for (const role of victims) {
      if (role === 'serve') this.scene.killService();
      else killNow(pids.get(role)!);
    }
    this.log(`${(atUs / 1e6).toFixed(3)} kill ${what} (${[...pids.values()].join(', ')})`);
    this.tally.kills.push({ atUs, what, probes: this.tally.probes(), warm, quiet });
    this.killed[what] = (this.killed[what] ?? 0) + 1;
    this.processes += victims.length;
    if (pids.has('server')) this.#follow(pids.get('server')!, atUs, warm);
    if (pids.has('keeper')) this.#begin(this.#revive(reviveMs));
    if (pids.has('serve')) this.#begin(this.#serveAgain(reviveMs));
  }

  async #spareIsReady(): Promise<boolean> {
    const ask = async (): Promise<boolean> => {
      const keeper = await KeeperClient.find(this.#processes.runDir);
      if (keeper === null) return false;
      try {
        return (await keeper.list()).sparePid !== null;
      } finally {
        keeper.close();
      }
    };
    return Promise.race([ask().catch(() => false), sleep(ASK_MS).then(() => false)]);
  }

  #pidOf(role: Role): number | null {
    const server = this.#processes.serving();
    const keeper = this.#processes.keeper();
    switch (role) {
      case 'server':
        return server;
      case 'keeper':
        return keeper;
      case 'spare':
        return this.#processes.holders().find((pid) => pid !== server && pid !== keeper) ?? null;
      case 'serve':
        return this.scene.service?.child.pid ?? null;
    }
  }

  #survives(victims: readonly number[]): boolean {
    const holders = this.#processes.holders();
    // Whoever kills no holder needs no survivor.
    return !victims.some((pid) => holders.includes(pid)) || holders.some((pid) => !victims.includes(pid));
  }

  /** Watches until the mount's lock is held by another process, or until that one is killed too. */
  #follow(dead: number, atUs: number, warm: boolean): void {
    const until = Date.now() + TAKEOVER_MS;
    this.#begin(
      (async () => {
        for (;;) {
          const serving = this.#processes.serving();
          if (serving !== null && serving !== dead) break;
          if (Date.now() > until) return this.tally.trouble(`nobody serves ${TAKEOVER_MS} ms after server ${dead} was killed`);
          await sleep(1);
        }
        this.tally.takeovers.push({ ms: (nowUs() - atUs) / 1000, warm });
      })(),
    );
  }

  async #revive(afterMs: number): Promise<void> {
    await sleep(afterMs);
    const { code, stderr } = await this.scene.cli.run('status', '--json');
    if (code !== 0) this.tally.trouble(`status after the keeper's death ended with ${code}: ${stderr.slice(-500)}`);
  }

  async #serveAgain(afterMs: number): Promise<void> {
    await sleep(afterMs);
    await this.scene.startService();
  }

  async #replace(n: number): Promise<void> {
    await this.scene.removeContainer(n);
    await this.scene.addContainer(n);
  }

  async #disturb({ how, value, forMs }: FaultEvent & { kind: 'network' }): Promise<void> {
    const mine = ++this.#network;
    this.scene.network(how, value);
    this.log(`${(nowUs() / 1e6).toFixed(3)} network ${how} ${value} for ${forMs} ms`);
    await this.#faultFor(forMs);
    if (this.#network === mine) this.scene.network('flow', 0);
  }

  async #faultFor(ms: number): Promise<void> {
    this.#faults += 1;
    await sleep(ms);
    this.#faults -= 1;
    this.#faultEnded = Date.now();
  }

  async #fill(forMs: number): Promise<void> {
    this.#makeRoom = this.scene.fill();
    await this.#faultFor(forMs);
    this.#makeRoom();
  }

  async #command(command: string, args: readonly string[]): Promise<void> {
    const { code, stderr } = await this.scene.cli.host.outside(command, args, { timeoutMs: COMMAND_MS });
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr}`);
  }

  /** In the background, after the last one of the same chain. */
  #after(chain: string, work: () => Promise<void>): void {
    const next = (this.#chains.get(chain) ?? Promise.resolve()).then(async () => {
      if (!this.signal.aborted) await work();
    });
    const told = next.catch((error: unknown) => this.tally.trouble(`${chain}: ${error instanceof Error ? error.message : String(error)}`));
    this.#chains.set(chain, told);
    this.#begin(told);
  }

  #begin(work: Promise<void>): void {
    const told = work.catch((error: unknown) => this.tally.trouble(error instanceof Error ? error.message : String(error)));
    this.#background.add(told);
    void told.finally(() => this.#background.delete(told));
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}
