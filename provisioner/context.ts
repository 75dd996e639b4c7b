/** The world as the operations of the provisioner see it: made once by the service, or by a test with other parts. */
import type { Logger } from '../src/log/logger';
import type { Backend } from './backends/backend';
import type { Images } from './images';
import type { BackendName, Layout } from './layout';
import type { Limits } from './limits';
import type { MountOperations } from './mount-helper/pool';
import type { MountEntry } from '../src/native/mountinfo';
import type { Mounts } from './mounts';
import type { ProvisionerMetrics } from './metrics';
import type { ImageRecord, State } from './state/state';
import type { StepHook } from './steps';

/** Takes objects that only these images needed out of the cache; resolves to the bytes freed. */
export type FreeCache = (pruned: readonly ImageRecord[]) => Promise<number>;

export interface World {
  readonly state: State;
  readonly layout: Layout;
  readonly helpers: MountOperations;
  readonly backends: Readonly<Record<BackendName, Backend>>;
  readonly mounts: Mounts;
  readonly images: Images;
  readonly freeCache: FreeCache;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly metrics: ProvisionerMetrics;
  readonly defaultBackend: BackendName;
  readonly inodeBits: (fqrn: string) => 32 | 64;
  /** Of this boot of the host. */
  readonly bootId: string;
  readonly nowMs: () => number;
  readonly newUuid: () => string;
  readonly readMountinfo: () => MountEntry[];
  readonly step: StepHook;
}
