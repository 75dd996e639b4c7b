/** The facade, put together for the service: its store checked first, then links put in order, then the listener. */
import type { Config } from '../../src/config/config';
import { Failure } from '../../src/error';
import type { Metrics } from '../../src/metrics/metrics';
import type { World } from '../context';
import type { StartProfiles } from '../start-profiles';
import { DockerStore } from './docker-store';
import { Facade } from './facade';
import { Links } from './links';
import { facadeMetrics } from './metrics';
import { RegistryFallback } from './registry-fallback';
import { ensureSecret, secretFile } from './secret';
import type { FacadeServer } from './server';
import { startFacadeServer } from './server';
import { Upkeep } from './upkeep';

export interface FacadeStart {
  readonly config: Config;
  readonly world: World;
  readonly metrics: Metrics;
  readonly profiles: Pick<StartProfiles, 'begin'>;
  /** Holds were given up: the file system servers are to be told. */
  readonly releasing: () => void;
  /** For tests: other times than `TIMING`. */
  readonly timing?: Partial<typeof TIMING>;
}

export interface RunningFacade {
  /** `host:port`, once it has started. */
  readonly address: string;
  /** A sentence each. */
  warnings(): string[];
  /** Takes away links that no container uses; returns how many. */
  prune(kept: ReadonlySet<string>): Promise<number>;
  /** Puts the links in order, then listens. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const TIMING = {
  /** An answer well before the minute after which an agent gives up, so that its user reads why. */
  manifestMs: 30_000,
  sendMs: 20_000,
  lookMs: 30_000,
  recoverMs: 20_000,
  graceMs: 600_000,
};

/** Errors: FAILED_PRECONDITION (the store or the secret is open to others), SYSTEM. */
export function prepareFacade({ config, world, metrics, profiles, releasing, timing }: FacadeStart): RunningFacade {
  const { listen, dockerStoreDir, auth, maxResolves, maxLinksPerHour, maxViews, agentWorkDir, agentRuntimeDir, fallbackRegistries } = config.facade;
  if (dockerStoreDir === undefined) throw new Failure('CONFIG_INVALID', 'facade.enabled needs facade.docker_store_dir');
  const logger = world.logger.child({ part: 'facade' });
  const store = new DockerStore(dockerStoreDir);
  store.check();
  store.sweep();
  const secret = auth === 'secret' ? ensureSecret(secretFile(config.stateDir)) : undefined;
  const figures = facadeMetrics(metrics);
  const links = new Links({ ...world, logger }, store, { mountRoot: config.mountRoot, maxLinksPerHour, maxViews }, figures);
  metrics.gauge('facade_links', { help: "Images linked in the agent's docker store", read: () => links.all().length });
  const configured = [...config.repositories.keys()];
  const times = { ...TIMING, ...timing };
  const agent = agentWorkDir === undefined ? undefined : { workDir: agentWorkDir, runtimeDir: agentRuntimeDir, dockerStoreDir };
  const upkeep = new Upkeep({ ...world, logger }, links, { agent, maxLinks: maxViews, ...times }, figures, releasing);
  const fallback = fallbackRegistries.length === 0 ? {} : { fallback: new RegistryFallback({ registries: fallbackRegistries, configured, metrics: figures }) };
  const facade = new Facade({ images: world.images, mounts: world.mounts, configured, links, profiles, maxResolves, metrics: figures, ...fallback });
  let server: FacadeServer | undefined;
  return {
    get address() {
      return server?.address ?? '';
    },
    warnings: () => upkeep.warnings(),
    prune: (kept) => upkeep.prune(kept),
    async start() {
      await upkeep.start();
      server = await startFacadeServer({ ...listen, secret, answer: (asked) => facade.answer(asked), logger, metrics: figures, nowMs: world.nowMs, manifestMs: times.manifestMs, sendMs: times.sendMs });
    },
    async stop() {
      await Promise.all([server?.stop(), upkeep.stop()]);
    },
  };
}
