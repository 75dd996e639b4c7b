/**
 * The flags that an agent needs for this host's configuration, by mode. Names and meanings are Mesos' (docs/mesos-facts.md);
 * what is not said here may be as the operator likes.
 */
import type { Config } from '../../config/config';

export type Mode = 'facade' | 'module' | 'patched';
export const MODES: readonly Mode[] = ['facade', 'module', 'patched'];

export interface WantedFlag {
  /** As on the command line, without dashes; upper-cased after `MESOS_` in the environment. */
  readonly name: string;
  readonly value: string;
  /** Why, a sentence without a full stop. */
  readonly about: string;
}

export interface WantedOptions {
  readonly mode: Mode;
  /** Isolators that the agent has already; ours and what images need are added. */
  readonly isolation?: readonly string[];
  /** Have names without a registry asked of the facade. */
  readonly plainNames: boolean;
  /** Where the agent finds the secret, when the facade has one. */
  readonly dockerConfigFile?: string;
}

export const ISOLATOR_MODULE = 'org_mesos_cvmfs_Isolator';
export const MODULES_DIR = '/etc/mesos-cvmfs/modules';
export const MODULE_FILE = '/usr/lib/mesos-cvmfs/isolator/libmesos_cvmfs_isolator.so';
/** What a usual agent has; `filesystem/linux` and `docker/runtime` are what images need. */
export const USUAL_ISOLATION = ['filesystem/linux', 'docker/runtime', 'cgroups/cpu', 'cgroups/mem', 'namespaces/pid', 'disk/du', 'volume/sandbox_path'];
export const NEEDED_ISOLATORS = ['filesystem/linux', 'docker/runtime'];
/** Of the default of one minute an image that arrives slowly may need all. */
const REGISTRATION = '5mins';

/** `patched` is never guessed: nothing in our configuration tells of it. */
export function configuredMode(config: Config): Mode | undefined {
  if (config.isolator.enabled) return 'module';
  return config.facade.enabled ? 'facade' : undefined;
}

export function facadeAddress({ facade }: Config): string {
  const { host, port } = facade.listen;
  // Agents speak http only with these two names, and a facade that listens everywhere has one of them too.
  return `${host === 'localhost' ? 'localhost' : '127.0.0.1'}:${port}`;
}

export function wantedFlags(config: Config, { mode, isolation = USUAL_ISOLATION, plainNames, dockerConfigFile }: WantedOptions): WantedFlag[] {
  const { facade } = config;
  const isolators = [...new Set([...NEEDED_ISOLATORS.filter((name) => !isolation.includes(name)), ...isolation.filter((name) => name !== ISOLATOR_MODULE), ...(mode === 'module' ? [ISOLATOR_MODULE] : [])])];
  const when = (condition: boolean, ...flags: WantedFlag[]): WantedFlag[] => (condition ? flags : []);
  const registry = mode !== 'patched';
  return [
    { name: 'containerizers', value: 'mesos', about: 'images are started by the Mesos containerizer; keep docker after it if it was there' },
    { name: 'launcher', value: 'linux', about: 'filesystem/linux needs it' },
    { name: 'isolation', value: isolators.join(','), about: 'filesystem/linux and docker/runtime are what images need; the rest is usual, and yours to change' },
    { name: 'image_providers', value: 'docker', about: registry ? 'the facade is a docker registry' : 'names of docker images' },
    ...when(
      registry,
      { name: 'image_provisioner_backend', value: 'overlay', about: 'said, since an agent would silently take copy where overlay does not work' },
      ...when(facade.dockerStoreDir !== undefined, { name: 'docker_store_dir', value: facade.dockerStoreDir ?? '', about: 'facade.docker_store_dir, where the facade puts its links' }),
      ...when(plainNames, { name: 'docker_registry', value: `http://${facadeAddress(config)}`, about: 'names without a registry are asked of the facade' }),
      ...when(dockerConfigFile !== undefined, { name: 'docker_config', value: `file://${dockerConfigFile ?? ''}`, about: 'the secret of the facade (facade.auth)' }),
    ),
    ...when(facade.agentWorkDir !== undefined, { name: 'work_dir', value: facade.agentWorkDir ?? '', about: 'facade.agent_work_dir' }),
    ...when(registry, { name: 'runtime_dir', value: facade.agentRuntimeDir, about: 'facade.agent_runtime_dir' }),
    { name: 'executor_registration_timeout', value: REGISTRATION, about: 'counts from the launch on, the image included' },
    ...when(!registry, { name: 'remote_provisioner', value: config.listen, about: 'listen, where the service makes the root file systems of all containers (isolator/agent)' }),
    ...when(mode === 'module', { name: 'modules_dir', value: MODULES_DIR, about: 'every file in it is a manifest of modules; an agent takes this or modules' }),
  ];
}
