/**
 * On which directories of our views a container of a stock agent lives: its own root file system and its image volumes.
 * The agent's provisioner wrote the layers of both into one file beside the root file systems; a layer that the facade
 * serves is a link into a view. Nothing here touches a path behind a mount: what is read lies in the agent's directories.
 */
import * as fs from 'node:fs';
import type { ContainerId } from '../../provisioner/container-id';
import { containerKey } from '../../provisioner/container-id';
import type { MountStatus } from '../../provisioner/mounts';
import type { ViewDirectory } from '../../provisioner/state/completions';
import type { MountEntry } from '../../src/native/mountinfo';
import { readLayers } from './layers-file';

const VIEW = /^\/\.cvmfs-view\/([0-9a-f]{40,}(?:-[a-z0-9]+)?)(\/.*)?$/s;
/** Of one container; its image and its image volumes. */
const LAYERS_MAX = 1024;

interface AgentRootfs {
  readonly id: ContainerId;
  /** What the agent's provisioner keeps of the container. */
  readonly directory: string;
  readonly rootfs: string;
}

/** `<work_dir>/provisioner/containers/<id>[/containers/<child>…]/backends/<backend>/rootfses/<uuid>`. */
const ROOTFS = /^(\/.+\/provisioner((?:\/containers\/[^/]+)+))\/backends\/[^/]+\/rootfses\/[^/]+$/;

function agentRootfs(rootfs: string): AgentRootfs | undefined {
  const match = ROOTFS.exec(rootfs);
  return match === null ? undefined : { id: match[2]!.split('/containers/').slice(1), directory: match[1]!, rootfs };
}

/** What an agent's provisioner keeps of a container, from the path of one of its root file systems; undefined when it is not one. */
export function provisionerDirectory(rootfs: string, id: ContainerId): string | undefined {
  const found = agentRootfs(rootfs);
  return found !== undefined && containerKey(found.id) === containerKey(id) ? found.directory : undefined;
}

/** The same of every container that has a root file system mounted, by key, but for those below `ours`. */
export function provisionerDirectories(table: readonly MountEntry[], ours: string): Map<string, AgentRootfs> {
  const found = new Map<string, AgentRootfs>();
  for (const { mountpoint } of table) {
    const one = agentRootfs(mountpoint.toString());
    if (one !== undefined && !one.rootfs.startsWith(`${ours}/`) && !found.has(containerKey(one.id))) found.set(containerKey(one.id), one);
  }
  return found;
}

/** Where a link points to when it points into a view of a mounted repository. */
export function viewAt(target: Buffer, mounts: readonly MountStatus[]): ViewDirectory | undefined {
  for (const { repository, mountpoint } of mounts) {
    const prefix = Buffer.from(mountpoint);
    if (!target.subarray(0, prefix.length).equals(prefix)) continue;
    const match = VIEW.exec(target.toString('latin1', prefix.length));
    if (match !== null) return { repository, view: match[1]!, pathInView: Buffer.from(match[2] ?? '/', 'latin1') };
  }
  return undefined;
}

/** Each directory once. STATE_DAMAGED when the agent's record cannot be read. */
export function viewsOf(directory: string, mounts: readonly MountStatus[]): ViewDirectory[] {
  const found = new Map<string, ViewDirectory>();
  for (const layer of readLayers(`${directory}/layers`).slice(0, LAYERS_MAX)) {
    let target: Buffer;
    try {
      target = fs.readlinkSync(layer, 'buffer');
    } catch {
      // A layer of the agent's own, or one that it pruned since.
      continue;
    }
    const at = viewAt(target, mounts);
    if (at !== undefined) found.set(`${at.repository}\0${at.view}\0${at.pathInView.toString('latin1')}`, at);
  }
  return [...found.values()];
}
