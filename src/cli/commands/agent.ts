/** `mesos-cvmfs agent …`: what an agent has to be started with, and what would not work with one that runs. */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import { readSecret, secretFile } from '../../../provisioner/facade/secret';
import type { Config } from '../../config/config';
import type { CommonOptions } from '../common-options';
import { configuration } from '../context';
import { listenerOf } from '../agent/agent-process';
import { writeDockerConfig } from '../agent/docker-config';
import { flagChecks } from '../agent/flag-checks';
import { commandLineText, dcosText, environmentText, FORMATS, modulesText } from '../agent/flag-text';
import type { Format } from '../agent/flag-text';
import { agentUrl, askAgent } from '../agent/mesos-agent';
import type { AgentCredentials, MesosAgent } from '../agent/mesos-agent';
import { facadeCheck, placeChecks } from '../agent/place-checks';
import { configuredMode, MODES, wantedFlags } from '../agent/wanted-flags';
import type { Mode } from '../agent/wanted-flags';
import { runChecks } from '../doctor/finding';
import type { Check } from '../doctor/finding';
import { printFindings } from '../doctor/print-findings';
import { print } from '../output';

const DEFAULT_AGENT = 'http://127.0.0.1:5051';
const PASSWORD_BYTES_MAX = 4096;

interface FlagsOptions extends CommonOptions {
  readonly mode?: string;
  readonly format?: string;
  readonly isolation?: string;
  readonly plainNames?: boolean;
}

interface CheckOptions extends CommonOptions {
  readonly agent?: string;
  readonly mode?: string;
  readonly pid?: string;
  readonly user?: string;
  readonly passwordFile?: string;
}

function oneOf<T extends string>(flag: string, given: string, choices: readonly T[]): T {
  const found = choices.find((one) => one === given);
  if (found === undefined) throw new Failure('INVALID_ARGUMENT', `${flag} ${given.slice(0, 50)}: not one of ${choices.join(', ')}`);
  return found;
}

function modeOf(config: Config, given: string | undefined): Mode {
  const mode = given === undefined ? configuredMode(config) : oneOf('--mode', given, MODES);
  if (mode === undefined) throw new Failure('FAILED_PRECONDITION', 'neither the facade nor the isolator is enabled in the configuration', { next: 'set enabled = true in [facade], or give --mode' });
  if (mode !== 'patched' && config.facade.dockerStoreDir === undefined) throw new Failure('CONFIG_INVALID', 'facade.docker_store_dir is not set', { next: 'set it to a directory outside of the agent’s work directory, such as "/var/lib/mesos-store/docker"' });
  return mode;
}

export async function flags(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as FlagsOptions;
  const config = configuration(options);
  const mode = modeOf(config, options.mode);
  const format: Format = oneOf('--format', options.format ?? 'env', FORMATS);
  if (format === 'modules') return void process.stdout.write(modulesText(config));
  const secret = mode !== 'patched' && config.facade.auth === 'secret';
  const isolation = options.isolation?.split(',').map((name) => name.trim()).filter((name) => name !== '');
  const wanted = wantedFlags(config, { mode, plainNames: options.plainNames === true, ...(isolation === undefined ? {} : { isolation }), ...(secret ? { dockerConfigFile: writeDockerConfig(config) } : {}) });
  const text = { env: environmentText, flags: commandLineText, dcos: (all: typeof wanted) => dcosText(all, mode === 'module') }[format](wanted);
  print(options.json === true, { mode, flags: Object.fromEntries(wanted.map(({ name, value }) => [name, value])) }, text);
}

function credentialsOf({ user, passwordFile }: CheckOptions): AgentCredentials | undefined {
  if (user === undefined && passwordFile === undefined) return undefined;
  if (user === undefined || passwordFile === undefined) throw new Failure('INVALID_ARGUMENT', '--user and --password-file belong together');
  let password: string;
  try {
    password = fs.readFileSync(passwordFile, 'utf8');
  } catch (error) {
    throw Failure.from(error, passwordFile);
  }
  if (password.length > PASSWORD_BYTES_MAX) throw new Failure('INVALID_ARGUMENT', `${passwordFile} is too long for a password`);
  return { user, password: password.trim() };
}

function processOf({ pid }: CheckOptions, url: URL): number | undefined {
  if (pid === undefined) return listenerOf(Number(url.port === '' ? 80 : url.port));
  if (!/^[1-9][0-9]{0,9}$/.test(pid) || !fs.existsSync(`/proc/${pid}`)) throw new Failure('NOT_FOUND', `there is no process ${pid.slice(0, 20)}`);
  return Number(pid);
}

function secretOf({ facade, stateDir }: Config): string | undefined {
  return facade.auth === 'secret' && process.geteuid!() === 0 ? readSecret(secretFile(stateDir)) : undefined;
}

export async function check(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CheckOptions;
  const config = configuration(options);
  const mode = modeOf(config, options.mode);
  const url = agentUrl(options.agent ?? DEFAULT_AGENT);
  const credentials = credentialsOf(options);
  const pid = processOf(options, url);
  let agent: MesosAgent | undefined;
  const asked: Check = {
    name: 'agent',
    async run(report) {
      agent = await askAgent(url, credentials);
      report.ok('answers', url.host);
    },
  };
  const first = await runChecks([asked]);
  const about = agent === undefined ? [] : flagChecks({ agent, config, mode, secret: secretOf(config) });
  const place = placeChecks(config, { pid, workDir: agent?.flags['work_dir'] });
  printFindings(options.json === true, [...first, ...(await runChecks([...about, ...place, ...(mode === 'patched' ? [] : [facadeCheck(config)])]))]);
}
