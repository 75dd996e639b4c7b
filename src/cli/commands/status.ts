/** `mesos-cvmfs status`: what is mounted, what serves it, and what an operator should know. */
import { z } from 'zod';
import { Failure } from '../../error';
import { MountedClient } from '../../fuse/control/mounted-client';
import type { KeeperList, MountInfo } from '../../fuse/keeper/keeper';
import { FUSE_TYPE } from '../../fuse/keeper/own-mounts';
import { readMountinfo } from '../../native/mountinfo';
import type { Config } from '../../config/config';
import { configurationWarnings, configuration } from '../context';
import { enumText, figure, timeText } from '../messages';
import { keeperList } from '../mounted-repositories';
import { print, table } from '../output';
import type { CommonOptions } from '../common-options';
import { findService } from '../service-client';
import { unservedText } from '../unserved';

const STATUS_TIMEOUT_MS = 5_000;
const serverStatus = z.object({ revision: z.number(), rootHash: z.string(), offline: z.boolean(), warnings: z.array(z.string()), ioErrors: z.number() }).loose();

async function mountStatus(info: MountInfo, { keeperPid, sparePid }: KeeperList): Promise<{ mount: object; warnings: string[] }> {
  const base = { repository: info.repository, mountpoint: info.mountpoint, server_pid: info.serverPid, keeper_pid: keeperPid, spare_pid: sparePid, server_death: info.serverDeath };
  // Another process may listen already, and has nothing to say before it serves.
  const nobody = unservedText(info);
  if (nobody !== null) return { mount: { ...base, revision: null, root_hash: null }, warnings: [nobody] };
  const client = new MountedClient(info);
  try {
    const status = serverStatus.parse(await client.raw('status', {}, STATUS_TIMEOUT_MS));
    return { mount: { ...base, revision: status.revision, root_hash: status.rootHash, details: status }, warnings: status.warnings };
  } catch (error) {
    return { mount: { ...base, revision: null, root_hash: null }, warnings: [`the file system server of ${info.repository} does not answer: ${Failure.from(error).message}`] };
  } finally {
    client.close();
  }
}

interface ServiceJson {
  readonly version: string;
  readonly pid: number;
  readonly started: string;
  readonly uptime_seconds: number;
  readonly listen: string;
  readonly http: string;
  /** Address of the registry facade, null when it is not enabled. */
  readonly facade: string | null;
  readonly ready: boolean;
  readonly repositories: ReadonlyArray<{ repository: string; mountpoint: string; state: string; failure: string | null; revision: number | null; root_hash: string | null }>;
  readonly containers: number;
  readonly rootfses: number;
}

async function serviceStatus(config: Config): Promise<{ service: ServiceJson | null; warnings: readonly string[] }> {
  try {
    const client = await findService(config);
    if (client === null) return { service: null, warnings: [] };
    try {
      const { version = '', pid = 0, started_ms, http = '', facade = '', ready = false, repositories, containers = 0, rootfses = 0, warnings } = await client.admin.Status({}, { timeoutMs: STATUS_TIMEOUT_MS });
      const shown = repositories.map(({ repository = '', mountpoint = '', state, failure, revision, root_hash }) => ({
        repository,
        mountpoint,
        state: enumText(state, 'REPOSITORY_STATE_'),
        failure: failure ?? null,
        revision: revision === undefined ? null : figure(revision),
        root_hash: root_hash ?? null,
      }));
      const uptime_seconds = Math.max(0, Math.floor((Date.now() - figure(started_ms)) / 1000));
      return { service: { version, pid, started: timeText(started_ms), uptime_seconds, listen: config.listen, http, facade: facade === '' ? null : facade, ready, repositories: shown, containers, rootfses }, warnings };
    } finally {
      client.close();
    }
  } catch (error) {
    return { service: null, warnings: [`the service does not answer: ${Failure.from(error).message}`] };
  }
}

export async function status(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const config = configuration(options);
  const [list, { service, warnings: said }] = await Promise.all([keeperList(config.runDir), serviceStatus(config)]);
  const found = await Promise.all((list?.mounts ?? []).map(async (info) => ({ info, ...(await mountStatus(info, list!)) })));
  const warnings = [...found.flatMap((one) => one.warnings), ...(list?.warnings ?? [])];
  for (const dead of list?.dead ?? []) warnings.push(`${dead.repository} at ${dead.mountpoint} is dead: ${dead.reason}`);
  const known = new Set([...(list?.mounts ?? []), ...(list?.dead ?? [])].map((mount) => mount.mountpoint));
  for (const entry of readMountinfo()) {
    const target = entry.mountpoint.toString();
    if (entry.type === FUSE_TYPE && entry.root.toString() === '/' && !known.has(target)) warnings.push(`${entry.source.toString()} is mounted at ${target} by a keeper of another run_dir, or by none`);
  }
  // The service knows its own configuration better than this command does.
  const all = [...new Set([...warnings, ...(service === null ? configurationWarnings(config) : []), ...said])];
  const rows = found.map(({ info, mount }) => {
    const { revision } = mount as { revision: number | null };
    const { repository, mountpoint, serverPid, serverDeath } = info;
    const server = unservedText(info) === null ? `server ${serverPid ?? 'is being started'}` : 'nobody serves it';
    return [repository, mountpoint, `revision ${revision ?? '?'}`, serverDeath === 'fails' ? `${server}; its death fails the reads that it has in hand` : server];
  });
  const text = [
    rows.length === 0 ? 'nothing is mounted\n' : table(rows),
    ...(list === null ? [] : [`keeper ${list.keeperPid}, spare ${list.sparePid ?? 'is being started'}, descriptors are ${list.stored ? '' : 'not '}stored by a service manager\n`]),
    ...(service === null ? ['no service runs\n'] : [`service ${service.version}, pid ${service.pid}, ${service.ready ? 'ready' : 'not ready'}, ${service.containers} containers, http://${service.http}${service.facade === null ? '' : `, images on ${service.facade}`}\n`]),
    ...all.map((one) => `warning: ${one}\n`),
  ];
  print(options.json === true, { mounts: found.map((one) => one.mount), keeper: list === null ? null : { pid: list.keeperPid, spare_pid: list.sparePid, descriptors_stored: list.stored }, service, warnings: all }, text.join(''));
}
