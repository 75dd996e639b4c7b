/** `mesos-cvmfs status`: what is mounted, what serves it, and what an operator should know. */
import * as fs from 'node:fs';
import { z } from 'zod';
import { Failure } from '../../error';
import { KeeperClient } from '../../fuse/control/keeper-client';
import { MountedClient } from '../../fuse/control/mounted-client';
import type { KeeperList, MountInfo } from '../../fuse/keeper/keeper';
import { FUSE_TYPE, readMountTable } from '../../fuse/keeper/mount-table';
import { configuration } from '../context';
import { print, table } from '../output';
import type { CommonOptions } from '../program';

const STATUS_TIMEOUT_MS = 5_000;
const serverStatus = z.object({ revision: z.number(), rootHash: z.string(), offline: z.boolean(), warnings: z.array(z.string()), ioErrors: z.number() }).loose();

/** True when `run_dir` has records of mounts, so that a keeper is worth starting to ask about them. */
function hasRecords(runDir: string): boolean {
  return fs.existsSync(`${runDir}/keeper`) && fs.readdirSync(`${runDir}/keeper`).some((name) => name.endsWith('.json'));
}

async function keeperList(runDir: string): Promise<KeeperList | null> {
  const keeper = hasRecords(runDir) ? await KeeperClient.start(runDir) : await KeeperClient.find(runDir);
  if (keeper === null) return null;
  try {
    return await keeper.list();
  } finally {
    keeper.close();
  }
}

async function mountStatus(info: MountInfo, keeperPid: number): Promise<{ mount: object; warnings: string[] }> {
  const base = { repository: info.repository, mountpoint: info.mountpoint, server_pid: info.serverPid, keeper_pid: keeperPid, spare_pid: null };
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

export async function status(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const config = configuration(options);
  const list = await keeperList(config.runDir);
  const found = await Promise.all((list?.mounts ?? []).map((info) => mountStatus(info, list!.keeperPid)));
  const warnings = found.flatMap((one) => one.warnings);
  for (const dead of list?.dead ?? []) warnings.push(`${dead.repository} at ${dead.mountpoint} is dead: ${dead.reason}`);
  const known = new Set([...(list?.mounts ?? []), ...(list?.dead ?? [])].map((mount) => mount.mountpoint));
  for (const entry of readMountTable()) {
    const target = entry.target.toString();
    if (entry.type === FUSE_TYPE && entry.root.toString() === '/' && !known.has(target)) warnings.push(`${entry.source.toString()} is mounted at ${target} by a keeper of another run_dir, or by none`);
  }
  const answer = { mounts: found.map((one) => one.mount), service: null, warnings };
  const rows = found.map(({ mount }) => {
    const { repository, mountpoint, revision, server_pid: pid } = mount as { repository: string; mountpoint: string; revision: number | null; server_pid: number | null };
    return [repository, mountpoint, `revision ${revision ?? '?'}`, `server ${pid ?? 'is being started'}`];
  });
  print(options.json === true, answer, `${rows.length === 0 ? 'nothing is mounted\n' : table(rows)}${warnings.map((text) => `warning: ${text}\n`).join('')}`);
}
