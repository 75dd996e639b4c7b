'use strict';
/**
 * The service as it was built, over repositories that the keeper has mounted, which kills itself at a step of Provision or
 * Destroy: `fork(…, [config file, run_dir])`, then the name of the step by message, answered by `armed`. Sends `ready`
 * when it takes calls.
 */
const path = require('node:path');
const built = (file) => require(path.resolve(__dirname, '../../dist', file));
const { configuration, prepareHost, repository } = built('src/cli/context.js');
const { silentLogger } = built('src/log/logger.js');
const { createMetrics } = built('src/metrics/metrics.js');
const { KeptRepositories, mountSpecs } = built('provisioner/kept-repositories.js');
const { RepositoryMounts } = built('provisioner/repository-mounts.js');
const { startService } = built('provisioner/service.js');

async function main([file, runDir]) {
  let crashAt;
  process.on('message', (step) => {
    crashAt = step;
    process.send('armed');
  });
  const config = configuration({ config: file, runDir });
  const { user } = prepareHost(config, { stateDir: true });
  const keeper = new KeptRepositories({ runDir: config.runDir, configOf: (fqrn) => repository(config, fqrn).config, serverUid: user.uid, serverGid: user.gid });
  await startService({
    config,
    version: '0.0.0-test',
    logger: silentLogger,
    metrics: createMetrics({ processMetrics: false }),
    mounts: new RepositoryMounts({ keeper, specs: mountSpecs(config.mountRoot, config.repositories.keys()), logger: silentLogger }),
    inodeBits: () => 64,
    freeCache: async () => 0,
    world: {
      step: (step) => {
        if (step === crashAt) process.kill(process.pid, 'SIGKILL');
      },
    },
  });
  process.send('ready');
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
