/** What an agent's flags mean for images of ours, in words. */
import * as fs from 'node:fs';
import type { Config } from '../../config/config';
import type { Check, Report } from '../doctor/finding';
import { hasSecret } from './docker-config';
import { mesosDurationMs } from './mesos-agent';
import type { MesosAgent } from './mesos-agent';
import { facadeAddress, ISOLATOR_MODULE, NEEDED_ISOLATORS } from './wanted-flags';
import type { Mode } from './wanted-flags';

export interface FlagChecksOptions {
  readonly agent: MesosAgent;
  readonly config: Config;
  readonly mode: Mode;
  /** The secret of the facade; undefined when it has none, or when it may not be read. */
  readonly secret: string | undefined;
}

/** Images of manifest schema 2 are understood from here on (docs/mesos.md). */
const OLDEST = [1, 8] as const;
const MINUTE_MS = 60_000;
const CONTAINERS_MAX = 1_000;
const FILE_BYTES_MAX = 1024 * 1024;
const DEFAULT_STORE = '/tmp/mesos/store/docker';

const listed = (value: string | undefined): string[] => (value ?? '').split(/[,;]/).map((name) => name.trim()).filter((name) => name !== '');
const said = (value: string | undefined): string => (value === undefined || value === '' ? 'is not set' : `is ${value}`);

export function flagChecks({ agent, config, mode, secret }: FlagChecksOptions): Check[] {
  const { flags } = agent;
  const check = (name: string, run: (report: Report) => void): Check => ({ name, run });
  const registry = mode !== 'patched';
  return [
    check('agent version', (report) => {
      const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(agent.version) ?? [];
      const old = Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1]);
      if (old) report.problem(`Mesos ${agent.version} does not understand the manifests of the facade`, `use Mesos ${OLDEST.join('.')} or later`);
      else report.ok(`Mesos ${agent.version}`);
    }),
    check('containerizers', (report) => {
      const names = listed(flags['containerizers'] ?? 'mesos');
      if (names.includes('mesos')) report.ok(`are ${names.join(', ')}`);
      else report.problem(`are ${names.join(', ')}: images of ours are started by mesos alone`, 'add mesos to --containerizers');
    }),
    check('launcher', (report) => {
      if (flags['launcher'] === 'linux') report.ok('is linux');
      else report.problem(`${said(flags['launcher'])}: filesystem/linux needs linux`, 'start the agent as root with --launcher=linux');
    }),
    check('image_providers', (report) => {
      const names = listed(flags['image_providers']).map((name) => name.toLowerCase());
      if (names.includes('docker')) report.ok(`are ${names.join(', ')}`);
      else report.problem(`${said(flags['image_providers'])}: every image fails as unsupported`, 'start the agent with --image_providers=docker');
    }),
    check('isolation', (report) => checkIsolation(flags, mode, report)),
    check('docker_ignore_runtime', (report) => {
      if (flags['docker_ignore_runtime'] === 'true') report.warning('environment, working directory and command of images are ignored', 'take --docker_ignore_runtime away');
      else report.ok('is off: images say how they are run');
    }),
    ...(registry
      ? [
          check('image_provisioner_backend', (report) => checkBackend(flags, report)),
          check('docker_store_dir', (report) => checkStore(flags, config, report)),
          check('docker_registry', (report) => checkRegistry(flags, config, report)),
          check('docker_config', (report) => checkSecret(flags, config, secret, report)),
          check('work_dir', (report) => checkDirectory('facade.agent_work_dir', flags['work_dir'], config.facade.agentWorkDir, report)),
          check('runtime_dir', (report) => checkDirectory('facade.agent_runtime_dir', flags['runtime_dir'], config.facade.agentRuntimeDir, report)),
        ]
      : [check('remote_provisioner', (report) => checkRemote(flags, config, report))]),
    ...['executor_registration_timeout', 'fetcher_stall_timeout'].map((name) => check(name, (report) => checkTimeout(name, flags[name], report))),
    check('resources', (report) => checkPorts(flags['resources'], config, report)),
    check('systemd_enable_support', (report) => {
      if (flags['systemd_enable_support'] === 'false' && fs.existsSync('/run/systemd/system')) report.warning('is off: containers end with the agent', 'take --systemd_enable_support=false away, or set KillMode=process in its unit');
      else report.ok('containers outlive the agent');
    }),
  ];
}

function checkIsolation(flags: MesosAgent['flags'], mode: Mode, report: Report): void {
  const names = listed(flags['isolation']);
  const missing = NEEDED_ISOLATORS.filter((name) => !names.includes(name));
  if (missing.length > 0) report.problem(`${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing: containers with images do not start`, `add ${missing.join(',')} to --isolation`);
  else report.ok(`has ${NEEDED_ISOLATORS.join(' and ')}`);
  const module = names.includes(ISOLATOR_MODULE);
  if (mode === 'module' && !module) report.problem(`the module is missing: no container gets /cvmfs, and nobody tells which containers live`, `add ${ISOLATOR_MODULE} to --isolation, and its manifest to --modules_dir (mesos-cvmfs agent flags --format modules)`);
  else if (mode !== 'module' && module) report.warning('has our module, and isolator.enabled is false: its calls are not served', 'set enabled = true in [isolator]');
  else if (module) report.ok(`has ${ISOLATOR_MODULE}`);
}

/** Backends that containers of this agent have been provisioned with, by their directories; `null`: it cannot be seen. */
function usedBackends(workDir: string | undefined): ReadonlySet<string> | null {
  if (workDir === undefined) return null;
  const top = `${workDir}/provisioner/containers`;
  const used = new Set<string>();
  try {
    for (const container of fs.readdirSync(top).slice(0, CONTAINERS_MAX)) {
      try {
        for (const name of fs.readdirSync(`${top}/${container}/backends`)) used.add(name);
      } catch {
        // A container without an image, or one that has just ended.
      }
    }
  } catch {
    return null;
  }
  return used;
}

function checkBackend(flags: MesosAgent['flags'], report: Report): void {
  const backend = flags['image_provisioner_backend'];
  const used = [...(usedBackends(flags['work_dir']) ?? [])].filter((name) => name !== 'overlay');
  if (backend === 'overlay') report.ok('is overlay');
  else if (backend !== undefined && backend !== '') report.problem(`is ${backend}: the facade links images for overlay, so that the agent would look for whole layers`, 'start the agent with --image_provisioner_backend=overlay');
  else if (used.length > 0) report.problem(`is not set, and the agent has taken ${used.join(', ')} by itself: whole images are copied`, 'put its work directory on ext4 or on xfs with ftype=1, and start it with --image_provisioner_backend=overlay');
  else report.warning('is not set: where overlay does not work the agent takes copy without a word', 'start the agent with --image_provisioner_backend=overlay');
  if (backend === 'overlay' && used.length > 0) report.warning(`containers with ${used.join(', ')} are left of another time`, 'an agent without that backend would not recover: keep it, or drain the agent first');
}

/** The path without links, or as it is where it does not exist. */
function real(dir: string): string {
  try {
    return fs.realpathSync(dir);
  } catch {
    return dir.replace(/\/+$/, '');
  }
}

function checkStore(flags: MesosAgent['flags'], config: Config, report: Report): void {
  const theirs = flags['docker_store_dir'] ?? DEFAULT_STORE;
  const ours = config.facade.dockerStoreDir;
  if (ours === undefined) return report.problem('facade.docker_store_dir is not set, so that the facade makes no links', `set docker_store_dir = "${theirs}" in [facade]`, theirs);
  if (real(theirs) !== real(ours)) return report.problem(`is the agent's, and the facade links into ${ours}: the agent would ask for layers that nobody has`, `start the agent with --docker_store_dir=${ours}, or set facade.docker_store_dir to it`, theirs);
  report.ok('is the one that the facade links into', theirs);
  const work = flags['work_dir'];
  if (work !== undefined && real(theirs).startsWith(`${real(work)}/`)) report.warning('is in the work directory, which the agent mounts on itself at its first start', 'put the store beside the work directory', theirs);
}

function checkRegistry(flags: MesosAgent['flags'], config: Config, report: Report): void {
  const registry = flags['docker_registry'] ?? 'https://registry-1.docker.io';
  const facade = facadeAddress(config);
  if (registry.replace(/\/+$/, '') === `http://${facade}`) report.ok('is the facade: names without a registry are looked up in the repositories');
  else if (registry.includes(`:${config.facade.listen.port}`)) report.problem(`is ${registry}: the facade speaks plain http on ${facade}`, `start the agent with --docker_registry=http://${facade}`);
  else report.ok(`is ${registry}: images from repositories are named ${facade}/…`);
}

function checkSecret(flags: MesosAgent['flags'], config: Config, secret: string | undefined, report: Report): void {
  if (config.facade.auth !== 'secret') return report.ok('the facade wants no secret');
  if (secret === undefined) return report.skipped('whether it holds the secret of the facade only root can tell, after the first start of the service');
  let text = flags['docker_config'] ?? '';
  const file = /^(?:file:\/\/)?(\/.*)$/.exec(text)?.[1];
  try {
    if (file !== undefined && fs.statSync(file).size <= FILE_BYTES_MAX) text = fs.readFileSync(file, 'utf8');
  } catch {
    return report.problem(`names ${file ?? ''}, which cannot be read`, 'run mesos-cvmfs agent flags, which writes it');
  }
  if (hasSecret(text, config, secret)) report.ok('holds the secret of the facade');
  else report.problem('does not hold the secret of the facade: every image fails with 401 Unauthorized', 'give the agent the --docker_config that mesos-cvmfs agent flags prints');
}

/** A socket has one name here: links in `/run` and `/var/run` are not worth a wrong alarm. */
function checkRemote(flags: MesosAgent['flags'], config: Config, report: Report): void {
  const theirs = flags['remote_provisioner'];
  const path = (address: string): string => real(address.replace(/^unix:(\/\/)?/, ''));
  if (theirs === undefined) report.problem('is not set: the agent makes root file systems by itself, or is not patched (isolator/agent)', `start the agent with --remote_provisioner=${config.listen}`);
  else if (path(theirs) !== path(config.listen)) report.problem(`is ${theirs}, and the service listens at ${config.listen}`, `start the agent with --remote_provisioner=${config.listen}`);
  else report.ok('is where the service listens');
}

function checkDirectory(key: string, theirs: string | undefined, ours: string | undefined, report: Report): void {
  if (theirs === undefined) return report.skipped('the agent does not tell it');
  if (ours === undefined) report.warning(`${key} is not set: which images are in use is not known`, `set it to "${theirs}"`, theirs);
  else if (real(theirs) !== real(ours)) report.problem(`is the agent's, and ${key} is ${ours}: images in use would be taken for unused`, `set ${key} to "${theirs}"`, theirs);
  else report.ok(`is ${key}`, theirs);
}

function checkTimeout(name: string, value: string | undefined, report: Report): void {
  const ms = value === undefined ? MINUTE_MS : mesosDurationMs(value);
  if (ms === undefined) report.skipped(`${value ?? ''} is no duration that is known here`);
  else if (ms < MINUTE_MS) report.problem(`is ${value ?? ''}: an image from a repository that answers slowly does not come in time`, `start the agent with --${name}=5mins`);
  else report.ok(value === undefined ? 'is one minute' : `is ${value}`);
}

/** `ports:[31000-32000]` of the agent's offers; others than these do not concern us. */
function checkPorts(resources: string | undefined, config: Config, report: Report): void {
  const ranges = [...(/ports(?:\([^)]*\))?:\[([^\]]*)\]/.exec(resources ?? '')?.[1] ?? '31000-32000').matchAll(/(\d+)-(\d+)/g)].map(([, from, to]) => [Number(from), Number(to)] as const);
  for (const [key, { port }] of [['facade.listen', config.facade.listen], ['http', config.http]] as const) {
    if (ranges.some(([from, to]) => port >= from && port <= to)) report.problem(`port ${port} (${key}) is offered to tasks: one of them may have it when the service starts`, 'leave it out of --resources, or choose another port');
    else report.ok(`port ${port} (${key}) is not offered to tasks`);
  }
}
