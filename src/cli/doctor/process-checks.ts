/** Keeper, servers and service: who runs, who should, and what the service manager was told about them. */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import type { KeeperList } from '../../fuse/keeper/keeper';
import { unservedText } from '../unserved';
import type { Check } from './finding';

const SYSTEMCTL_MS = 5_000;
const UNIT_PROPERTIES = ['FileDescriptorStoreMax', 'KillMode', 'NotifyAccess', 'OOMPolicy', 'Restart'] as const;

/** What was found out before the checks begin, since several of them need it. */
export interface Running {
  readonly root: boolean;
  readonly keeper: KeeperList | null;
  /** The keeper is there and does not answer: why. */
  readonly keeperFailure: string | null;
  /** Records of mounts in run_dir. */
  readonly records: number;
  readonly service: { readonly version: string; readonly pid: number; readonly ready: boolean; readonly warnings: readonly string[] } | null;
  readonly serviceFailure: string | null;
}

export function keeperCheck({ root, keeper, keeperFailure, records }: Running): Check {
  return {
    name: 'keeper',
    run(report) {
      if (!root) return report.skipped('only root may ask the keeper');
      if (keeperFailure !== null) return report.problem(keeperFailure, 'see keeper.log in run_dir; ending the keeper is harmless, the next command starts another');
      if (keeper === null && records > 0) return report.problem(`${records} mounts are recorded, and no keeper runs`, 'run: mesos-cvmfs status, which starts one; or systemctl start mesos-cvmfs-keeper');
      if (keeper === null) return report.ok('none runs, and nothing is mounted');
      const { keeperPid, sparePid, mounts, dead, warnings } = keeper;
      report.ok(`process ${keeperPid} keeps ${mounts.length} mounts`);
      if (sparePid !== null) report.ok(`process ${sparePid} is the warm spare`);
      else if (mounts.length > 0) report.warning('no spare is ready: the next takeover is slower', 'if it stays so, see spare.log in run_dir');
      for (const mount of mounts) {
        const nobody = unservedText(mount);
        if (nobody !== null) report.problem(nobody, `see server.log in ${mount.dir}`);
        else if (mount.serverPid === null) report.warning(`the file system server of ${mount.repository} is being started`, 'see server.log in the folder of the mount if it stays so', mount.mountpoint);
      }
      for (const { mountpoint, repository, reason } of dead) report.problem(`the mount of ${repository} is dead: ${reason}`, `run: mesos-cvmfs umount ${mountpoint}`, mountpoint);
      for (const warning of warnings) report.warning(warning, null);
    },
  };
}

/** A keeper in a mount namespace of its own mounts for nobody. */
export function namespaceCheck({ root, keeper }: Running): Check {
  return {
    name: 'mount namespace',
    run(report) {
      if (!root) return report.skipped('only root may look');
      if (keeper === null) return report.ok('no keeper runs');
      const own = namespaceOf(keeper.keeperPid);
      // In a container not even root may look at process 1; this command is where the operator is.
      const host = namespaceOf(1) ?? namespaceOf('self');
      if (own === null) report.skipped('it cannot be seen');
      else if (own === host) report.ok("the keeper mounts in the host's");
      else report.problem('the keeper mounts in a mount namespace of its own, which others do not see', 'take PrivateMounts, PrivateTmp, ProtectSystem and the like out of its unit (docs/operations.md), and start it again');
    },
  };
}

function namespaceOf(pid: number | 'self'): string | null {
  try {
    return fs.readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return null;
  }
}

export function serviceCheck({ root, service, serviceFailure }: Running): Check {
  return {
    name: 'service',
    run(report) {
      if (!root) return report.skipped('only root may ask the service');
      if (serviceFailure !== null) return report.problem(serviceFailure, 'see its log');
      if (service === null) return report.ok('none runs; mount and umount work without');
      if (service.ready) report.ok(`${service.version}, process ${service.pid}, ready`);
      else report.warning(`${service.version}, process ${service.pid}, is not ready`, 'mesos-cvmfs status says what it waits for');
      for (const warning of service.warnings) report.warning(warning, null);
    },
  };
}

/** Whether the mounts survive the death of everything at once. */
export function storeCheck({ root, keeper }: Running): Check {
  return {
    name: 'descriptor store',
    run(report) {
      if (!root || keeper === null) return report.skipped(root ? 'no keeper runs' : 'only root may ask the keeper');
      if (keeper.stored) report.ok('a service manager keeps a copy of every descriptor');
      else report.warning('descriptors are not stored: mounts die when keeper, server and spare die at the same moment', 'run the keeper as a systemd unit (examples/systemd)');
    },
  };
}

/** Settings of the keeper's unit without which the death of processes is noticed. */
export function unitCheck({ root, keeper }: Running): Check {
  return {
    name: 'systemd unit',
    async run(report) {
      if (!root || keeper === null) return report.skipped(root ? 'no keeper runs' : 'only root may look');
      const unit = unitOf(keeper.keeperPid);
      if (unit === null) return report.ok('the keeper was not started by systemd');
      const shown = await show(unit);
      if (shown === null) return report.skipped('systemctl does not answer', unit);
      const wrong = (key: string, why: string, want: string): void => report.problem(`${key}=${shown.get(key) ?? ''}: ${why}`, `set ${key}=${want} in its unit (examples/systemd), then: systemctl daemon-reload`, unit);
      if (Number(shown.get('FileDescriptorStoreMax')) < keeper.mounts.length || shown.get('FileDescriptorStoreMax') === '0') wrong('FileDescriptorStoreMax', 'systemd drops the descriptors of mounts', '4096');
      if (shown.get('KillMode') !== 'process') wrong('KillMode', 'servers die with the keeper', 'process');
      if (shown.get('OOMPolicy') === 'stop' || shown.get('OOMPolicy') === 'kill') wrong('OOMPolicy', 'one process that is killed for memory takes all others with it', 'continue');
      if (shown.get('Restart') !== 'always') report.warning(`Restart=${shown.get('Restart') ?? ''}: a dead keeper waits for the next command`, 'set Restart=always', unit);
      report.ok(UNIT_PROPERTIES.map((key) => `${key}=${shown.get(key) ?? ''}`).join(' '), unit);
    },
  };
}

/** The unit of a process, by its cgroup; null when it belongs to none of ours, a login session for instance. */
function unitOf(pid: number): string | null {
  const cgroup = fs.readFileSync(`/proc/${pid}/cgroup`, 'latin1');
  return /\/system\.slice\/(?:.*\/)?([^/\n]*mesos-cvmfs[^/\n]*\.service)$/m.exec(cgroup)?.[1] ?? null;
}

async function show(unit: string): Promise<Map<string, string> | null> {
  try {
    const { stdout } = await promisify(execFile)('systemctl', ['show', `--property=${UNIT_PROPERTIES.join(',')}`, '--', unit], { timeout: SYSTEMCTL_MS, killSignal: 'SIGKILL' });
    return new Map(stdout.split('\n').flatMap((line) => (line.includes('=') ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const] : [])));
  } catch {
    return null;
  }
}
