/** What most commands begin with: the configuration in force. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import { Failure } from '../error';
import { buildRepositoryConfig } from '../config/build-repository-config';
import type { BuiltRepository, RepositoryFlags } from '../config/build-repository-config';
import { loadConfig } from '../config/config';
import type { Config } from '../config/config';
import { directoryRules, findServerUser, prepareDirectory } from '../config/directories';
import type { ServerUser } from '../config/directories';
import { parseEnvironment } from '../config/environment';
import { hostFiles } from '../config/host-files';
import type { ConfigWarning } from '../config/origin';
import { readParameters } from '../config/parameters';
import type { CommonOptions } from './common-options';

export function requireRoot(what: string): void {
  if (process.geteuid?.() !== 0) throw new Failure('PERMISSION_DENIED', `${what} needs root`, { next: 'run it as root' });
}

export function configuration(options: CommonOptions, flags: { readonly cacheDir?: string | undefined } = {}): Config {
  return loadConfig({ files: hostFiles, file: options.config, flags: { runDir: options.runDir, cacheDir: flags.cacheDir } });
}

/** One repository's configuration from all its sources. */
export function repository(config: Config, fqrn: string, flags: RepositoryFlags = {}, parameterOptions: readonly string[] = []): BuiltRepository {
  return buildRepositoryConfig({
    fqrn,
    config,
    parameters: readParameters({ fqrn, files: hostFiles, options: parameterOptions }),
    flags,
    environment: parseEnvironment(fs.readFileSync('/proc/self/environ')),
    architecture: os.machine(),
    files: hostFiles,
  });
}

/** Makes or checks the directories, and says who file system servers run as. */
export function prepareHost(config: Config, options: { readonly stateDir: boolean; readonly cacheDir?: string }): { readonly user: ServerUser; readonly warnings: readonly ConfigWarning[] } {
  const me = { uid: process.geteuid!(), gid: process.getegid!() };
  const { user, warning } = findServerUser(config.serverUser, hostFiles, me);
  const dirs = { runDir: config.runDir, cacheDir: options.cacheDir ?? config.cache.dir, ...(options.stateDir ? { stateDir: config.stateDir } : {}) };
  for (const rule of directoryRules(dirs, user, me)) prepareDirectory(rule, me);
  return { user, warnings: warning === undefined ? [] : [warning] };
}

/** What `serve` would complain of, a sentence each; of a repository that cannot be put together, why. */
export function configurationWarnings(config: Config): string[] {
  const warnings: string[] = [];
  const { warning } = findServerUser(config.serverUser, hostFiles, { uid: process.geteuid!(), gid: process.getegid!() });
  if (warning !== undefined) warnings.push(warning.text);
  for (const [fqrn, { values }] of config.repositories) {
    if (values.mount === 'external') continue;
    try {
      for (const { severity, text } of repository(config, fqrn).warnings) if (severity !== 'info') warnings.push(text);
    } catch (error) {
      warnings.push(Failure.from(error).message);
    }
  }
  return warnings;
}
