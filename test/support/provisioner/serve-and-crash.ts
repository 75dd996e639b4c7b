/**
 * A service that kills itself at a step of Provision or Destroy: `fork(…, [host dir])`, then the name of the step by
 * message, answered by `armed`. Sends `ready` when it takes calls.
 */
import { parseConfig } from '../../../src/config/config';
import { silentLogger } from '../../../src/log/logger';
import { createMetrics } from '../../../src/metrics/metrics';
import { startService } from '../../../provisioner/service';
import { DirectoryRepository, FixedMounts } from './directory-repository';
import { FQRN } from './service';

async function main(toml: string, mountpoint: string): Promise<void> {
  let crashAt: string | undefined;
  process.on('message', (step: string) => {
    crashAt = step;
    process.send!('armed');
  });
  await startService({
    config: parseConfig(toml, undefined),
    version: '0.0.0-test',
    logger: silentLogger,
    metrics: createMetrics({ processMetrics: false }),
    mounts: new FixedMounts([new DirectoryRepository(FQRN, mountpoint)]),
    inodeBits: () => 64,
    freeCache: async () => 0,
    facadeTiming: { graceMs: 0 },
    world: {
      step: (step) => {
        if (step === crashAt) process.kill(process.pid, 'SIGKILL');
      },
    },
  });
  process.send!('ready');
}

void main(process.argv[2]!, process.argv[3]!);
