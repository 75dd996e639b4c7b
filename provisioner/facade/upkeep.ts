/**
 * Keeps links, views and the agent's store in step, so that an agent never trips over a link of ours: at the start of the
 * service, whenever a repository is mounted anew, whenever something changes in the store, and now and then.
 *
 * At the start every link is made to lead somewhere again (after a reboot its view has to be made again) or taken away:
 * then the agent asks, and its user is told what is wrong, or the image comes back by itself. Who starts the agent after
 * this service is ready (the units' order) finds everything done.
 *
 * Which images are in use is read from the agent's own files (agent-checkpoints.ts). Views in use are held under a name of
 * their own, so that the cache counts them as used by containers, and images of long-running containers are completed.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../src/error';
import type { Logger } from '../../src/log/logger';
import type { MountedRepository } from '../../src/repository/reader';
import { eachOf, within } from '../abort';
import type { World } from '../context';
import type { FacadeLink } from '../state/facade-links';
import { agentHolder } from '../state/state';
import type { AgentDirectories, AgentUses } from './agent-checkpoints';
import { readAgentUses } from './agent-checkpoints';
import type { Links } from './links';
import type { FacadeMetrics } from './metrics';

export interface UpkeepOptions {
  /** Undefined when `agent_work_dir` is not configured: then nothing is known of uses, and nothing is let go for want of one. */
  readonly agent: AgentDirectories | undefined;
  /** Between two looks when nothing is heard. */
  readonly lookMs: number;
  /** For all repositories with links to be mounted, and each view to be there again, when the service starts. */
  readonly recoverMs: number;
  /** A link that the agent was told of since then may be about to be used, although no file of the agent says so yet. */
  readonly graceMs: number;
  /** Of more, those that no container uses go, the oldest first. */
  readonly maxLinks: number;
}

type UpkeepWorld = Pick<World, 'state' | 'mounts' | 'limits' | 'bootId' | 'nowMs'> & { readonly logger: Logger };

const PARALLEL = 4;
/** Share of `maxLinks` from which on unused ones go. */
const FULL = 0.9;
/** Changes that come together are looked at together. */
const SETTLE_MS = 500;
/** Links looked at in one turn of the event loop. */
const BATCH = 64;
/** Foreign layers may be many; links of ours among them are looked for at the start alone. */
const UNKNOWN_MAX = 100_000;

export class Upkeep {
  #uses: AgentUses = { uses: [], stored: new Set(), problems: [] };
  #looked = false;
  /** Links whose views the agent's containers hold, on which mount. */
  readonly #held = new Map<string, MountedRepository>();
  #looking: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #watcher: fs.FSWatcher | undefined;
  #stopped = false;

  constructor(
    private readonly world: UpkeepWorld,
    private readonly links: Links,
    private readonly options: UpkeepOptions,
    private readonly metrics: Pick<FacadeMetrics, 'images'>,
    /** Holds were given up: the file system servers are to be told. */
    private readonly releasing: () => void,
  ) {}

  /** Puts everything in order; what cannot be is taken away. Ends within about twice `recoverMs`. */
  async start(): Promise<void> {
    const { mounts, logger } = this.world;
    for (const digest of this.links.store.links((target) => this.links.isOurs(target), UNKNOWN_MAX)) await this.links.withdrawUnknown(digest);
    const repositories = new Set(this.links.all().map(({ repository }) => repository));
    const signal = AbortSignal.timeout(this.options.recoverMs);
    await Promise.all(
      [...repositories].map(async (fqrn) => {
        try {
          await this.#restore(await mounts.get(fqrn, signal));
        } catch (err) {
          const lost = this.links.all().filter(({ repository }) => repository === fqrn);
          logger.warn('the links of a repository are taken away: it is not mounted', { repository: fqrn, links: lost.length, err: Failure.from(err) });
          for (const link of lost) await this.links.withdraw(link, 'unreachable');
        }
      }),
    );
    await this.look();
    mounts.onReady((repository) => void this.#restore(repository).catch((err: unknown) => logger.error('links could not be put in order', { repository: repository.fqrn, err })));
    this.#timer = setInterval(() => void this.look(), this.options.lookMs).unref();
    this.#watch();
  }

  stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#watcher?.close();
    return this.#looking ?? Promise.resolve();
  }

  /** What the agent's files say is not all known, or nothing; a sentence each. */
  warnings(): string[] {
    if (this.options.agent === undefined) return ['facade.agent_work_dir is not set, so that it is not known which images the agent’s containers use: no image of theirs is completed, and PruneImages keeps them all'];
    return this.#uses.problems.map((problem) => `a file of the agent cannot be read, so that images may be in use without its being known: ${problem}`);
  }

  /** Looks at once at what the agent uses and at every link; joins a look that waits to begin. */
  look(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#again = true;
    this.#looking ??= this.#looks().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  /** Takes away links that no container uses and whose image is not among `kept`; returns how many. For PruneImages. */
  async prune(kept: ReadonlySet<string>): Promise<number> {
    await this.look();
    return this.#withdrawUnused(kept, Number.POSITIVE_INFINITY);
  }

  /** The oldest of them first, at most `max`. */
  async #withdrawUnused(kept: ReadonlySet<string>, max: number): Promise<number> {
    const { logger, nowMs } = this.world;
    if (this.options.agent === undefined || this.#uses.problems.length > 0) {
      logger.warn('no link of the facade is taken away for want of use: it is not known what the agent uses', { problems: this.#uses.problems });
      return 0;
    }
    const used = this.#used();
    const since = nowMs() - this.options.graceMs;
    const lastMs = ({ digest, madeMs }: FacadeLink): number => Math.max(madeMs, this.links.toldMs(digest));
    const unused = this.links.all().filter((link) => !used.has(link.digest) && !kept.has(link.reference) && lastMs(link) < since);
    const gone = unused.sort((a, b) => lastMs(a) - lastMs(b)).slice(0, max);
    for (const link of gone) await this.links.withdraw(link, 'unused');
    this.releasing();
    return gone.length;
  }

  /** What the agent's files say, and what its isolator module told. */
  #used(): Set<string> {
    return new Set([...this.#uses.uses.map(({ digest }) => digest), ...this.world.state.facadeLinks.usedByIsolated()]);
  }

  async #looks(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        await this.#lookOnce();
      } catch (err) {
        this.world.logger.error('the links in the docker store could not be looked at', { err: Failure.from(err) });
      }
    }
  }

  async #lookOnce(): Promise<void> {
    const { agent } = this.options;
    if (agent !== undefined) await this.#lookAtUses(await readAgentUses(agent));
    const used = this.#used();
    const all = this.links.all();
    for (const [at, link] of all.entries()) {
      if (at % BATCH === BATCH - 1) await new Promise((resolve) => setImmediate(resolve));
      if (this.#stopped) return;
      await this.links.verify(link, used.has(link.digest));
    }
    const surplus = this.links.all().length - Math.floor(this.options.maxLinks * FULL);
    if (surplus > 0) await this.#withdrawUnused(new Set(), surplus);
    const left = this.links.all();
    const inUse = left.filter(({ digest }) => used.has(digest)).length;
    this.metrics.images.set(inUse, { state: 'used' });
    this.metrics.images.set(left.length - inUse, { state: 'unused' });
    if (left.length < all.length) this.releasing();
  }

  async #lookAtUses(found: AgentUses): Promise<void> {
    const { state, bootId, logger } = this.world;
    // What was in use and cannot be read now is in use still.
    const uses = found.problems.length === 0 ? found.uses : [...found.uses, ...this.#uses.uses];
    if (found.problems.length > 0 && this.#uses.problems.length === 0) logger.warn('files of the agent cannot be read', { problems: found.problems });
    this.#uses = { ...found, uses };
    const used = this.#used();
    const all = this.links.all();
    // At the first look also what an earlier service may have held.
    const unused = all.filter(({ digest }) => !used.has(digest) && (this.#held.has(digest) || (!this.#looked && found.problems.length === 0)));
    this.#looked = true;
    state.setAgentUses(uses, bootId, unused);
    for (const { digest } of unused) this.#held.delete(digest);
    if (unused.length > 0) this.releasing();
    await eachOf(all.filter(({ digest }) => used.has(digest)), PARALLEL, (link) => this.#hold(link));
  }

  async #hold(link: FacadeLink): Promise<void> {
    const { mounts, limits, logger } = this.world;
    const repository = mounts.peek(link.repository);
    if (repository === undefined || this.#held.get(link.digest) === repository || this.#stopped) return;
    try {
      await within(repository.holdView(link.view, agentHolder(link.digest)), limits.holdTimeoutMs, `holding a view of ${link.repository}`);
      this.#held.set(link.digest, repository);
    } catch (err) {
      logger.warn('the view of an image in use could not be held and is tried again', { image: link.reference, err: Failure.from(err) });
    }
  }

  /** All links into a repository that has been mounted; what is not reachable any more is taken away. */
  async #restore(repository: MountedRepository): Promise<void> {
    const links = this.links.all().filter((link) => link.repository === repository.fqrn);
    let silent: Failure | undefined;
    await eachOf(links, PARALLEL, async (link) => {
      if (this.#stopped) return;
      try {
        // One that does not answer is not asked for each of its views in turn.
        if (silent !== undefined) throw silent;
        await this.links.restore(link, repository, this.options.recoverMs);
      } catch (err) {
        if (Failure.from(err).code === 'DEADLINE_EXCEEDED') silent = Failure.from(err);
        this.world.logger.warn('an image is not reachable any more, and its link is taken away', { image: link.reference, layer: link.digest, err: Failure.from(err) });
        await this.links.withdraw(link, 'unreachable');
      }
    });
    this.releasing();
  }

  /** The agent's prune takes layers away by renaming them; without a watch it is found at the next look. */
  #watch(): void {
    try {
      const { layers } = this.links.store;
      this.#watcher = fs.watch(layers, { persistent: false }, (_event, name) => {
        // What has come needs no look, and may be many.
        if (name !== null && fs.lstatSync(path.join(layers, name), { throwIfNoEntry: false }) !== undefined) return;
        this.#soon ??= setTimeout(() => {
          this.#soon = undefined;
          void this.look();
        }, SETTLE_MS).unref();
      });
      this.#watcher.on('error', (err) => this.world.logger.debug('the docker store is not watched any more', { err }));
    } catch (err) {
      this.world.logger.debug('the docker store is not watched', { err: Failure.from(err) });
    }
  }
}
