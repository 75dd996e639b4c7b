/** The isolator's side of `serve`, put together. */
import type { Metrics } from '../../src/metrics/metrics';
import { bindService } from '../../provisioner/grpc/unary';
import type { Extension, ExtensionParts } from '../../provisioner/extension';
import type { SectionValues, ISOLATOR } from '../../src/config/schema';
import { DeadContainers } from './dead-containers';
import { FetchedBytes } from './fetched-bytes';
import { isolatorHandlers } from './handlers';
import type { IsolatorStep } from './isolation';
import { Isolation } from './isolation';

export interface IsolatorOptions {
  readonly config: SectionValues<typeof ISOLATOR>;
  readonly metrics: Metrics;
  /** For tests. */
  readonly step?: (step: IsolatorStep) => void;
  readonly lookMs?: number;
  readonly watchMs?: number;
}

/** `[isolator] enabled` is the caller's to look at. */
export function isolatorExtension({ config, metrics, step, lookMs, watchMs }: IsolatorOptions): (parts: ExtensionParts) => Extension {
  return ({ world, contracts, calls, payReleases }) => {
    metrics.gauge('isolated_containers', { help: 'Containers that the agent’s isolator module told of and that have not ended', read: () => world.state.isolated.count() });
    const fetched = new FetchedBytes(world.mounts, world.nowMs);
    const isolation = new Isolation(world, { allowedRepositories: config.allowedRepositories, fetched, payReleases, step: step ?? ((): void => undefined) });
    isolation.forgetEarlierBoots();
    const dead = new DeadContainers(world, lookMs, watchMs);
    dead.start();
    const name = 'mesos.cvmfs.v1.Isolator';
    return {
      name,
      service: bindService(contracts, name, isolatorHandlers(isolation, dead, calls)),
      ...(config.socket === undefined ? {} : { socket: config.socket }),
      stop: () => dead.stop(),
    };
  };
}
