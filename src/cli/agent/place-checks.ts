/** Where the agent runs: whether it sees our mounts, and reaches the facade. Only tables of the kernel are read. */
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { Config } from '../../config/config';
import { FUSE_TYPE, mountAt } from '../../fuse/keeper/own-mounts';
import { readMountinfo } from '../../native/mountinfo';
import type { MountEntry } from '../../native/mountinfo';
import type { Check } from '../doctor/finding';
import { environmentOf, mountsOf, namespaceOf } from './agent-process';

const FACADE_MS = 3_000;
const UNIT_CURE = 'take PrivateTmp, PrivateMounts, ProtectSystem and the like out of the agent’s unit (docs/operations.md), and restart it; a container of the agent needs the directory bound rshared';
/** On these the kernel makes no overlay, or Mesos refuses to. */
const NO_OVERLAY = ['overlay', 'aufs', 'btrfs', 'zfs', 'ecryptfs'];

/** The mount that a path is on, by the table alone. */
export function mountHolding(table: readonly MountEntry[], target: string): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of table) {
    const dir = entry.mountpoint.toString();
    if ((dir === '/' || target === dir || target.startsWith(`${dir}/`)) && (best === undefined || dir.length >= best.mountpoint.length)) best = entry;
  }
  return best;
}

export interface Place {
  /** The agent's process; undefined when it could not be found. */
  readonly pid: number | undefined;
  readonly workDir: string | undefined;
}

export function placeChecks(config: Config, { pid, workDir }: Place): Check[] {
  return [
    {
      name: 'agent process',
      run(report) {
        if (pid === undefined) report.skipped('it was not found: run this as root on its host, or give --pid');
        else report.ok(`is process ${pid}`);
      },
    },
    { name: 'mount namespace', run: (report) => (pid === undefined ? report.skipped('the process of the agent is not known') : checkMounts(config, pid, report)) },
    {
      name: 'work_dir file system',
      run(report) {
        const table = pid === undefined ? readMountinfo() : mountsOf(pid);
        const entry = workDir === undefined || table === undefined ? undefined : mountHolding(table, workDir);
        if (entry === undefined) report.skipped('the work directory of the agent is not known');
        else if (NO_OVERLAY.includes(entry.type)) report.problem(`is ${entry.type}, on which the agent does not use overlay`, 'put the work directory on ext4, or on xfs with ftype=1', workDir);
        else report.ok(`is ${entry.type}`, workDir);
      },
    },
    { name: 'network namespace', run: (report) => (pid === undefined ? report.skipped('the process of the agent is not known') : checkNetwork(pid, report)) },
    { name: 'proxy', run: (report) => (pid === undefined ? report.skipped('the process of the agent is not known') : checkProxy(pid, report)) },
    { name: 'curl', run: (report) => (pid === undefined ? report.skipped('the process of the agent is not known') : checkCurl(pid, report)) },
  ];
}

type Report = Parameters<Check['run']>[0];

function checkMounts(config: Config, pid: number, report: Report): void {
  const theirs = mountsOf(pid);
  const namespace = namespaceOf(pid, 'mnt');
  if (theirs === undefined || namespace === undefined) return report.skipped('it cannot be seen: run this as root');
  const own = readMountinfo();
  const shared = namespace === namespaceOf('self', 'mnt');
  if (shared) report.ok('the agent is in that of this command');
  else {
    const around = mountHolding(theirs, config.mountRoot);
    const receives = around?.tags.some((tag) => tag.startsWith('shared:') || tag.startsWith('master:')) ?? false;
    if (!receives) report.problem(`the agent is in a private mount namespace: repositories that are mounted at ${config.mountRoot} are not seen by it`, UNIT_CURE);
    else report.warning('the agent is in a mount namespace of its own, into which mounts propagate', UNIT_CURE);
  }
  for (const fqrn of config.repositories.keys()) {
    const target = `${config.mountRoot}/${fqrn}`;
    const here = mountAt(own, target);
    if (here === undefined || here.type !== FUSE_TYPE) report.skipped('is not mounted now', target);
    else if (mountAt(theirs, target)?.device === here.device) report.ok('is seen by the agent', target);
    else report.problem('is mounted, and the agent does not see it: launches fail with "No such file or directory"', UNIT_CURE, target);
  }
}

function checkNetwork(pid: number, report: Report): void {
  const theirs = namespaceOf(pid, 'net');
  if (theirs === undefined) report.skipped('it cannot be seen: run this as root');
  else if (theirs === namespaceOf('self', 'net')) report.ok('the agent reaches the facade on 127.0.0.1');
  else report.problem('the agent is in a network namespace of its own: its 127.0.0.1 is not ours', 'run the agent on the host network');
}

function checkProxy(pid: number, report: Report): void {
  const environment = environmentOf(pid);
  if (environment === undefined) return report.skipped('its environment cannot be read: run this as root');
  // curl takes http_proxy in lower case only, and all_proxy in both.
  const proxies = ['http_proxy', 'all_proxy', 'ALL_PROXY'].filter((name) => (environment.get(name) ?? '') !== '');
  if (proxies.length === 0) return report.ok('the agent has none');
  const except = (environment.get('no_proxy') ?? environment.get('NO_PROXY') ?? '').split(',').map((name) => name.trim());
  if (except.includes('*') || except.includes('127.0.0.1')) report.ok(`the agent has ${proxies.join(', ')}, and none for 127.0.0.1`);
  else report.problem(`the agent has ${proxies.join(', ')}, which curl would use for the facade too`, 'add no_proxy=127.0.0.1,localhost to its environment');
}

function checkCurl(pid: number, report: Report): void {
  const environment = environmentOf(pid);
  if (environment === undefined) return report.skipped('its environment cannot be read: run this as root');
  const dirs = (environment.get('PATH') ?? '/usr/local/bin:/usr/bin:/bin').split(':').filter((dir) => dir.startsWith('/'));
  const found = dirs.find((dir) => isThere(`/proc/${pid}/root${dir}/curl`));
  if (found === undefined) report.problem('is in no directory of the agent’s PATH: the agent ends when the first image is asked for', 'install curl on its host');
  else report.ok(`is ${found}/curl`);
}

function isThere(file: string): boolean {
  try {
    // Not followed: an absolute link would lead out of the agent's root into ours.
    fs.lstatSync(file);
    return true;
  } catch {
    return false;
  }
}

/** Whether the facade answers; with a secret it answers 401 to us, which is an answer. */
export function facadeCheck({ facade }: Config): Check {
  return {
    name: 'facade',
    async run(report) {
      if (!facade.enabled) return report.problem('is not enabled', 'set enabled = true in [facade]');
      const { host, port } = facade.listen;
      const address = `${host}:${port}`;
      if (port === 0) return report.skipped('listens on a free port, which agents cannot know');
      const status = await new Promise<number | Error>((resolve) => {
        const request = http.get({ host, port, path: '/v2/', agent: false, timeout: FACADE_MS }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.once('timeout', () => request.destroy(new Error(`no answer within ${FACADE_MS / 1000} s`)));
        request.once('error', resolve);
      });
      if (typeof status === 'number') report.ok('answers', address);
      else report.problem(`does not answer: ${status.message}`, 'start the service: systemctl start mesos-cvmfs', address);
    },
  };
}
