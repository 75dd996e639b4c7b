/** The registry facade: the agent's store and files as they are, without changing them and without touching a mount. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { checkStore } from '../../../provisioner/facade/docker-store';
import { readAgentUses } from '../../../provisioner/facade/agent-checkpoints';
import { readSecret, secretFile } from '../../../provisioner/facade/secret';
import type { Config } from '../../config/config';
import type { MountEntry } from '../../native/mountinfo';
import { hangingMountOn } from './careful-path';
import type { Check, Report } from './finding';

/** Containers whose backends are looked at. */
const CONTAINERS_MAX = 200;

const isWithin = (dir: string, parent: string): boolean => dir === parent || dir.startsWith(`${parent}/`);

/** None when the facade is not enabled. */
export function facadeChecks(config: Config, table: readonly MountEntry[], root: boolean): Check[] {
  const { enabled, dockerStoreDir: store, agentWorkDir, agentRuntimeDir, auth } = config.facade;
  if (!enabled || store === undefined) return [];
  const checks: Check[] = [{ name: 'facade.docker_store_dir', run: (report) => checkDockerStore(config, store, table, report) }];
  checks.push({
    name: 'facade.agent_work_dir',
    async run(report) {
      if (agentWorkDir === undefined) return report.warning('is not set: images of the agent’s long-running containers are not completed, and PruneImages keeps all', 'set it to the agent’s --work_dir');
      const hanging = hangingMountOn(table, agentWorkDir);
      if (hanging !== undefined) return report.problem(`lies on ${hanging.type} at ${hanging.mountpoint.toString()}`, 'have the agent work on a local disk', agentWorkDir);
      if (!root) return report.skipped('only root may look', agentWorkDir);
      const { uses, problems } = await readAgentUses({ workDir: agentWorkDir, runtimeDir: agentRuntimeDir, dockerStoreDir: store });
      for (const problem of problems) report.warning(`a file of the agent cannot be read: ${problem}`, 'see whether it is the agent’s, and whether its disk is sound', agentWorkDir);
      if (problems.length === 0) report.ok(`${new Set(uses.map(({ container }) => container)).size} containers with images of a docker store`, agentWorkDir);
      const others = backendsOf(agentWorkDir).filter((name) => name !== 'overlay');
      if (others.length > 0) report.problem(`the agent uses the backend ${others.join(', ')}, and lazy images need overlay`, 'start the agent with --image_provisioner_backend=overlay', agentWorkDir);
    },
  });
  if (auth === 'secret') {
    checks.push({
      name: 'facade.auth',
      run(report) {
        const file = secretFile(config.stateDir);
        if (!root) return report.skipped('only root may look', file);
        report.ok(readSecret(file) === undefined ? 'the secret is made at the first start' : 'the secret is there, for root alone', file);
      },
    });
  }
  return checks;
}

function checkDockerStore({ mountRoot, facade }: Config, store: string, table: readonly MountEntry[], report: Report): void {
  const hanging = hangingMountOn(table, store);
  if (hanging !== undefined) return report.problem(`lies on ${hanging.type} at ${hanging.mountpoint.toString()}`, 'have the agent keep its store on a local disk', store);
  const there = checkStore(store, 'look', 0);
  report.ok(there ? `${links(store)} layers are links` : 'is made at the first start', store);
  const work = facade.agentWorkDir;
  if (work !== undefined && isWithin(store, work)) report.warning(`lies in the agent’s work directory ${work}, which the agent mounts on itself`, 'keep --docker_store_dir outside of --work_dir', store);
  if (work !== undefined && isWithin(mountRoot, work)) report.problem(`mount_root ${mountRoot} lies in the agent’s work directory: the agent mounts that on itself and does not see what is mounted below`, 'choose another mount_root', store);
}

function links(store: string): number {
  const layers = path.join(store, 'layers');
  return fs.readdirSync(layers).filter((name) => fs.lstatSync(path.join(layers, name, 'rootfs.overlay'), { throwIfNoEntry: false })?.isSymbolicLink() === true).length;
}

/** Names of backends that the agent's containers have. */
function backendsOf(workDir: string): string[] {
  const containers = path.join(workDir, 'provisioner/containers');
  const list = (dir: string): string[] => {
    try {
      return fs.readdirSync(dir);
    } catch {
      return [];
    }
  };
  return [...new Set(list(containers).slice(0, CONTAINERS_MAX).flatMap((id) => list(path.join(containers, id, 'backends'))))];
}
