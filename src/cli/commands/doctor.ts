/**
 * `mesos-cvmfs doctor`: what is wrong with this host and its configuration, a line each with the cure. Works without the
 * service and starts nothing; every check has a deadline, and none touches a mount that could hang.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import { Failure } from '../../error';
import { buildRepositoryConfig } from '../../config/build-repository-config';
import { loadConfig } from '../../config/config';
import type { Config } from '../../config/config';
import { parseEnvironment } from '../../config/environment';
import type { ConfigFiles } from '../../config/host-files';
import { readParameters } from '../../config/parameters';
import type { RepositoryConfig } from '../../config/repository-config';
import { KeeperClient } from '../../fuse/control/keeper-client';
import type { KeeperList } from '../../fuse/keeper/keeper';
import { readMountinfo } from '../../native/mountinfo';
import { cacheChecks } from '../doctor/cache-checks';
import { carefulFiles } from '../doctor/careful-path';
import { directoryChecks } from '../doctor/directory-checks';
import { facadeChecks } from '../doctor/facade-checks';
import { runChecks } from '../doctor/finding';
import type { Check } from '../doctor/finding';
import { fuseDeviceCheck, kernelCheck, overlayCheck, resendCheck, serverUserCheck } from '../doctor/host-checks';
import { mountChecks } from '../doctor/mount-checks';
import { portChecks } from '../doctor/port-checks';
import { printFindings } from '../doctor/print-findings';
import { keeperCheck, namespaceCheck, serviceCheck, storeCheck, unitCheck } from '../doctor/process-checks';
import type { Running } from '../doctor/process-checks';
import { repositoryCheck } from '../doctor/repository-checks';
import type { CommonOptions } from '../common-options';
import { findService } from '../service-client';

const ASK_MS = 8_000;

/** What answers within the deadline, else the failure's text. */
async function ask<T>(what: string, work: () => Promise<T>): Promise<{ readonly value: T } | { readonly failure: string }> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Failure('DEADLINE_EXCEEDED', `${what} does not answer within ${ASK_MS / 1000} s`)), ASK_MS);
    });
    return { value: await Promise.race([work(), late]) };
  } catch (error) {
    return { failure: Failure.from(error).what };
  } finally {
    clearTimeout(timer);
  }
}

async function askKeeper(runDir: string): Promise<KeeperList | null> {
  const client = await KeeperClient.find(runDir);
  try {
    return client === null ? null : await client.list();
  } finally {
    client?.close();
  }
}

async function askService(config: Config): Promise<Running['service']> {
  const client = await findService(config);
  if (client === null) return null;
  try {
    const { version = '', pid = 0, ready = false, warnings } = await client.admin.Status({}, { timeoutMs: ASK_MS });
    return { version, pid, ready, warnings };
  } finally {
    client.close();
  }
}

function recordsIn(runDir: string): number {
  try {
    return fs.readdirSync(`${runDir}/keeper`).filter((name) => name.endsWith('.json')).length;
  } catch {
    // None was ever made, or only root may look.
    return 0;
  }
}

async function whatRuns(config: Config): Promise<Running> {
  const root = process.geteuid!() === 0;
  const [keeper, service] = await Promise.all([ask('the keeper', () => askKeeper(config.runDir)), ask('the service', () => askService(config))]);
  return {
    root,
    keeper: 'value' in keeper ? keeper.value : null,
    keeperFailure: 'failure' in keeper ? keeper.failure : null,
    records: recordsIn(config.runDir),
    service: 'value' in service ? service.value : null,
    serviceFailure: 'failure' in service ? service.failure : null,
  };
}

function repositoryOf(config: Config, fqrn: string, files: ConfigFiles): { config: RepositoryConfig; warnings: string[] } {
  const parameters = readParameters({ fqrn, files });
  const built = buildRepositoryConfig({ fqrn, config, parameters, flags: {}, environment: parseEnvironment(fs.readFileSync('/proc/self/environ')), architecture: os.machine(), files });
  return { config: built.config, warnings: built.warnings.filter(({ severity }) => severity !== 'info').map(({ text }) => text) };
}

async function checksOf(options: CommonOptions): Promise<Check[]> {
  const mounts = readMountinfo();
  const files = carefulFiles(mounts);
  let config: Config;
  try {
    config = loadConfig({ files, file: options.config, flags: { runDir: options.runDir } });
  } catch (error) {
    const { what, next } = Failure.from(error);
    return [{ name: 'configuration', run: (report) => report.problem(what, next ?? null) }, kernelCheck(), fuseDeviceCheck()];
  }
  const running = await whatRuns(config);
  const { file, repositories } = config;
  return [
    { name: 'configuration', run: (report) => (repositories.size === 0 ? report.warning('no repository is configured', 'add [repositories."images.example.org"] to it (docs/configuration.md)', file) : report.ok(`${repositories.size} repositories`, file)) },
    kernelCheck(),
    resendCheck(config.runDir),
    fuseDeviceCheck(),
    overlayCheck(config),
    serverUserCheck(config),
    keeperCheck(running),
    namespaceCheck(running),
    storeCheck(running),
    unitCheck(running),
    serviceCheck(running),
    ...directoryChecks(config, mounts),
    ...cacheChecks(config, mounts, running.keeper),
    ...mountChecks(config, mounts, running.keeper),
    ...facadeChecks(config, mounts, running.root),
    ...portChecks(config, running.service !== null),
    ...[...repositories].filter(([, { values }]) => values.mount === 'own').map(([fqrn]) => repositoryCheck(fqrn, () => repositoryOf(config, fqrn, files))),
  ];
}

export async function doctor(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  printFindings(options.json === true, await runChecks(await checksOf(options)));
}
