/** One run of the fault suite: a scene, its readers, a schedule, a report; and nothing left behind. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Chaos } from './chaos';
import type { ImageSize } from './fault-image';
import { FaultScene } from './fault-scene';
import type { RootfsKind } from './reader-container';
import type { FaultReport } from './report';
import { ROLES, schedule } from './schedule';
import type { Role } from './schedule';
import { percentiles, Tally } from './tally';
import type { Kill } from './tally';

export interface RunOptions {
  readonly seed: number;
  readonly kills: number;
  readonly minutes: number;
  readonly meanPauseMs: number;
  readonly size: ImageSize;
  /** Readers of all kinds in each container, beside one that only measures. */
  readonly mixers?: number;
  readonly roles?: readonly Role[];
  readonly kinds?: readonly RootfsKind[];
  readonly killsOnly?: boolean;
  readonly stopAtFailure?: boolean;
  readonly log?: (text: string) => void;
  /** Folder for the logs of everything, when something was found. */
  readonly keepLogs?: string;
  readonly signal?: AbortSignal;
}

const PROBES = 1;
/** Readers that have warmed up: the first blow does not only meet processes that start. */
const SETTLE_MS = 3_000;

export async function runFaults(options: RunOptions): Promise<FaultReport> {
  const { seed, kinds = ['overlay', 'bind', 'overlay', 'bind'], mixers = 1, roles = ROLES, log = () => undefined, signal = new AbortController().signal } = options;
  const events = schedule({ seed, kills: options.kills, meanPauseMs: options.meanPauseMs, roles, containers: kinds.length, ...(options.killsOnly === undefined ? {} : { killsOnly: options.killsOnly }) });
  log(`seed ${seed}: ${events.length} events, ${options.kills} kills of ${roles.join(', ')}`);
  const tally = new Tally();
  const started = new Date();
  const onLine = (line: string): void => {
    tally.line(line);
    if (line.startsWith('E ')) log(line);
  };
  const scene = new FaultScene({ seed, size: options.size, kinds, mixers, probes: PROBES, onLine });
  try {
    await scene.start();
    if (signal.aborted) throw new Error('interrupted before the first kill');
    log(`ready after ${Date.now() - started.getTime()} ms: ${scene.image.entries} entries, ${(scene.image.bytes / 1e6).toFixed(0)} MB, ${scene.runtime}`);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const chaos = new Chaos(scene, tally, signal, log);
    await chaos.run(events, { untilMs: Date.now() + options.minutes * 60_000, stopAtFailure: options.stopAtFailure === true });
    if (!signal.aborted) await finish(scene, tally);
    const troubled = tally.errors.filter(({ what }) => !what.startsWith('wrong '));
    const server = ({ what }: Kill): boolean => what.split('+').includes('server');
    return {
      seed,
      started: started.toISOString(),
      interrupted: signal.aborted,
      seconds: Math.round((Date.now() - started.getTime()) / 1000),
      conditions: {
        kernel: os.release(),
        node: process.version,
        cpus: os.cpus().length,
        runtime: scene.runtime,
        image: { entries: scene.image.entries, bytes: scene.image.bytes },
        containers: kinds,
        readers: kinds.length * (mixers + PROBES),
      },
      kills: { processes: chaos.processes, byKind: chaos.killed },
      events: chaos.counts,
      reads: tally.reads(),
      failed: troubled.length,
      wrong: tally.errors.length - troubled.length,
      errors: tally.errors.slice(0, 200),
      takeoverMs: {
        'to a warm spare': percentiles(tally.takeovers.filter(({ warm }) => warm).map(({ ms }) => ms)),
        'to one that had to be started': percentiles(tally.takeovers.filter(({ warm }) => !warm).map(({ ms }) => ms)),
      },
      stallsMs: {
        'server, spare warm, network and disk well': tally.stalls((kill) => server(kill) && kill.warm && kill.quiet),
        'server, all': tally.stalls(server),
        'others, network and disk well': tally.stalls((kill) => !server(kill) && kill.quiet),
      },
    };
  } catch (error) {
    tally.trouble(error instanceof Error ? error.message : String(error));
    throw error;
  } finally {
    if (options.keepLogs !== undefined && tally.errors.length > 0) keep(options.keepLogs, seed, scene.logs());
    await scene.end();
  }
}

/** Ends the readers, and asks the service whether it still knows what there is, and takes all of it down. */
async function finish(scene: FaultScene, tally: Tally): Promise<void> {
  try {
    for (const complaint of await scene.recover()) tally.trouble(complaint);
    await Promise.all(scene.containers.map((_, n) => scene.removeContainer(n)));
    const left = scene.cli.host.mountsBelow().filter((target) => target.includes('/rootfses/'));
    if (left.length > 0) tally.trouble(`root file systems stay mounted: ${left.join(', ')}`);
  } catch (error) {
    tally.trouble(error instanceof Error ? error.message : String(error));
  }
}

function keep(dir: string, seed: number, logs: Readonly<Record<string, string>>): void {
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, text] of Object.entries(logs)) fs.writeFileSync(path.join(dir, `${seed}-${name}`), text);
}
