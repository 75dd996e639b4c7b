/**
 * A service with the isolator's side that kills itself at one of its steps: `fork(…, [configuration, mount point])`, then
 * the name of the step by message, answered by `armed`. Sends `ready` when it takes calls.
 */
import { isolatorExtension } from '../../../isolator/service/extension';
import { startService } from '../../../provisioner/service';
import { parseConfig } from '../../../src/config/config';
import { silentLogger } from '../../../src/log/logger';
import { createMetrics } from '../../../src/metrics/metrics';
import { DirectoryRepository, FixedMounts } from '../provisioner/directory-repository';
import { FQRN } from '../provisioner/service';

async function main(toml: string, mountpoint: string): Promise<void> {
  let crashAt: string | undefined;
  process.on('message', (step: string) => {
    crashAt = step;
    process.send!('armed');
  });
  const config = parseConfig(toml, undefined);
  const metrics = createMetrics({ processMetrics: false });
  const step = (at: string): void => {
    if (at === crashAt) process.kill(process.pid, 'SIGKILL');
  };
  await startService({
    config,
    version: '0.0.0-test',
    logger: silentLogger,
    metrics,
    mounts: new FixedMounts([new DirectoryRepository(FQRN, mountpoint)]),
    inodeBits: () => 64,
    freeCache: async () => 0,
    extensions: [isolatorExtension({ config: config.isolator, metrics, step })],
  });
  process.send!('ready');
}

void main(process.argv[2]!, process.argv[3]!);
