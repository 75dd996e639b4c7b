/** Flags in the forms in which agents get them. */
import type { Config } from '../../config/config';
import { ISOLATOR_MODULE, MODULE_FILE } from './wanted-flags';
import type { WantedFlag } from './wanted-flags';

export const FORMATS = ['env', 'flags', 'dcos', 'modules'] as const;
export type Format = (typeof FORMATS)[number];

/** What a default DC/OS node has already (docs/mesos.md), or decides by itself: repeating it would freeze it there. */
const DCOS_HAS = ['containerizers', 'launcher', 'image_providers', 'work_dir', 'runtime_dir', 'executor_registration_timeout'];
/** And what the module adds to, which therefore has to be written out whole. */
const DCOS_WITH_CARE = ['isolation', 'modules_dir'];

const variable = ({ name, value }: WantedFlag): string => `MESOS_${name.toUpperCase()}=${quoted(value)}`;

/** systemd and shells read a plain word alike; anything else in double quotes. */
function quoted(value: string): string {
  return /^[A-Za-z0-9_./:,=@%+[\]-]*$/.test(value) ? value : `"${value.replace(/[\\"$`]/g, '\\$&')}"`;
}

/** For EnvironmentFile= of the agent's unit. */
export function environmentText(flags: readonly WantedFlag[]): string {
  const lines = flags.flatMap((flag) => [`# ${flag.about}`, variable(flag)]);
  return [...lines, '# curl must not ask a proxy for the facade', 'no_proxy=127.0.0.1,localhost'].map((line) => `${line}\n`).join('');
}

/** For a command line, one flag a line. */
export function commandLineText(flags: readonly WantedFlag[]): string {
  const shell = (value: string): string => (/^[A-Za-z0-9_./:,=@%+-]*$/.test(value) ? value : `'${value.replace(/'/g, "'\\''")}'`);
  return `${flags.map(({ name, value }) => `--${name}=${shell(value)}`).join(' \\\n')}\n`;
}

/** For /var/lib/dcos/mesos-slave-common, which wins over the files of DC/OS. */
export function dcosText(flags: readonly WantedFlag[], module: boolean): string {
  const plain = flags.filter(({ name }) => !DCOS_HAS.includes(name) && !DCOS_WITH_CARE.includes(name));
  const lines = ['# /var/lib/dcos/mesos-slave-common; then: systemctl restart dcos-mesos-slave (public nodes: dcos-mesos-slave-public)', ...plain.flatMap((flag) => [`# ${flag.about}`, variable(flag)])];
  if (module) {
    lines.push(
      '# For the module: one directory of manifests is allowed, so those of DC/OS must be in it too, and the list of isolators is',
      '# frozen once it is said here. Complete both from /opt/mesosphere/etc/mesos-slave-common, at each upgrade:',
      '#MESOS_MODULES_DIR=/var/lib/dcos/mesos-slave-modules',
      `#MESOS_ISOLATION=<the list of DC/OS>,${ISOLATOR_MODULE}`,
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** The manifest of the isolator module. */
export function modulesText(config: Config): string {
  const module = { name: ISOLATOR_MODULE, parameters: [{ key: 'socket', value: config.isolator.socket ?? config.listen }] };
  return `${JSON.stringify({ libraries: [{ file: MODULE_FILE, modules: [module] }] }, null, 2)}\n`;
}
