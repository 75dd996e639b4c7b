/**
 * `mesos-cvmfs serve`: the service. Its log goes to standard error; standard output gets one line when it takes calls, for
 * whoever started it. SIGTERM and SIGINT stop it, and stopping it unmounts nothing.
 */
import { Failure } from '../../error';
import type { Config } from '../../config/config';
import type { ConfigWarning } from '../../config/origin';
import type { RepositoryConfig } from '../../config/repository-config';
import { createLogger } from '../../log/service-logger';
import type { Logger } from '../../log/logger';
import { createMetrics } from '../../metrics/metrics';
import { freeCacheOf } from '../../../provisioner/free-cache';
import { KeptRepositories, mountSpecs } from '../../../provisioner/kept-repositories';
import { RepositoryMounts } from '../../../provisioner/repository-mounts';
import { startService } from '../../../provisioner/service';
import { isolatorExtension } from '../../../isolator/service/extension';
import { notify, notifySocketOf } from '../../native/notify-socket';
import type { NotifySocket } from '../../native/notify-socket';
import { VERSION } from '../../version';
import { configuration, prepareHost, repository, requireRoot } from '../context';
import type { CommonOptions } from '../common-options';
import { untilSignal } from '../until-signal';

/** What a repository is mounted with, read anew each time; what is wrong with it keeps no other one from being mounted. */
class RepositoryConfigs {
  readonly #warnings = new Map<string, readonly ConfigWarning[]>();

  constructor(
    private readonly config: Config,
    private readonly logger: Logger,
  ) {}

  of(fqrn: string): RepositoryConfig {
    if (this.config.repositories.get(fqrn)?.values.mount === 'external') {
      throw new Failure('UNIMPLEMENTED', `mount = "external" of ${fqrn} comes with a later release`, { next: 'remove it, so that the repository is mounted by mesos-cvmfs' });
    }
    const { config, warnings } = repository(this.config, fqrn);
    if (!this.#warnings.has(fqrn)) for (const { text } of warnings) this.logger.warn(text, { repository: fqrn });
    this.#warnings.set(fqrn, warnings);
    return config;
  }

  warnings(): string[] {
    return [...this.#warnings.values()].flat().flatMap(({ severity, text }) => (severity === 'info' ? [] : [text]));
  }
}

export async function serve(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  requireRoot('the service');
  const options = given as CommonOptions;
  const config = configuration(options);
  const logger = createLogger({ destination: 2, level: config.logLevel, format: config.logFormat, fields: { process: 'serve', pid: process.pid } });
  process.on('uncaughtException', (error) => {
    logger.error('the service ends', { error });
    process.exit(Failure.from(error).exitCode);
  });
  // Whoever waited for the word that it is ready may be gone when it comes.
  process.stdout.on('error', (error) => logger.debug('standard output', { error }));
  const asked = untilSignal();
  const manager = notifySocketOf(process.env);

  const { user, warnings } = prepareHost(config, { stateDir: true });
  for (const { text } of warnings) logger.warn(text);
  const configs = new RepositoryConfigs(config, logger);
  const kept = new KeptRepositories({ runDir: config.runDir, configOf: (fqrn) => configs.of(fqrn), serverUid: user.uid, serverGid: user.gid });
  const mounts = new RepositoryMounts({ keeper: kept, specs: mountSpecs(config.mountRoot, config.repositories.keys()), logger });
  const metrics = createMetrics();
  const service = await startService({
    config,
    version: VERSION,
    logger,
    metrics,
    mounts,
    inodeBits: (fqrn) => config.repositories.get(fqrn)?.values.inodeBits ?? 64,
    freeCache: freeCacheOf(mounts, logger),
    extensions: config.isolator.enabled ? [isolatorExtension({ config: config.isolator, metrics })] : [],
    warnings: () => [...warnings.map(({ text }) => text), ...configs.warnings()],
  });
  const { listen } = config;
  const { http, facade } = service;
  const where = `${listen}, http://${http}${facade === null ? '' : `, images on ${facade}`}`;
  process.stdout.write(options.json === true ? `${JSON.stringify({ ready: true, pid: process.pid, listen, http, facade })}\n` : `ready: ${where}\n`);
  await tellManager(manager, logger, ['READY=1', `STATUS=takes calls on ${where}`]);

  logger.info('stopping', { signal: await asked });
  await tellManager(manager, logger, ['STOPPING=1']);
  await service.stop();
  kept.close();
  process.exit(0);
}

/** The service manager, where one started this (sd_notify(3)); a manager that does not listen keeps nobody from working. */
async function tellManager(manager: NotifySocket | null, logger: Logger, lines: readonly string[]): Promise<void> {
  try {
    if (manager !== null) await notify(manager, lines);
  } catch (error) {
    logger.warn('the service manager was not told', { error, lines: lines.join(' ') });
  }
}
