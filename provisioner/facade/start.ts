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
import { ensureSecret, secretFile } from './secret';
import type { FacadeServer } from './server';
import { startFacadeServer } from './server';

export interface FacadeStart {
  readonly config: Config;
  readonly world: World;
  readonly metrics: Metrics;
  readonly profiles: Pick<StartProfiles, 'begin'>;
  /** Holds were given up: the file system servers are to be told. */
  readonly releasing: () => void;
}

export interface RunningFacade {
  /** `host:port`, once it has started. */
  readonly address: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** An answer well before the minute after which an agent gives up, so that its user reads why. */
const MANIFEST_MS = 30_000;
const SEND_MS = 20_000;

/** Errors: FAILED_PRECONDITION (the store or the secret is open to others), SYSTEM. */
export function prepareFacade({ config, world, metrics, profiles }: FacadeStart): RunningFacade {
  const { listen, dockerStoreDir, auth, maxResolves, maxLinksPerHour, maxViews } = config.facade;
  if (dockerStoreDir === undefined) throw new Failure('CONFIG_INVALID', 'facade.enabled needs facade.docker_store_dir');
  const logger = world.logger.child({ part: 'facade' });
  const store = new DockerStore(dockerStoreDir);
  store.check();
  store.sweep();
  const secret = auth === 'secret' ? ensureSecret(secretFile(config.stateDir)) : undefined;
  const figures = facadeMetrics(metrics);
  const links = new Links({ ...world, logger }, store, { mountRoot: config.mountRoot, maxLinksPerHour, maxViews }, figures);
  metrics.gauge('facade_links', { help: "Images linked in the agent's docker store", read: () => links.all().length });
  const facade = new Facade({ images: world.images, mounts: world.mounts, configured: [...config.repositories.keys()], links, profiles, maxResolves, metrics: figures });
  let server: FacadeServer | undefined;
  return {
    get address() {
      return server?.address ?? '';
    },
    async start() {
      server = await startFacadeServer({ ...listen, secret, answer: (asked) => facade.answer(asked), logger, metrics: figures, nowMs: world.nowMs, manifestMs: MANIFEST_MS, sendMs: SEND_MS });
    },
    stop: async () => server?.stop(),
  };
}
