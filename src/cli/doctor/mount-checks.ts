/** Where repositories are to be mounted, and what is there already. Only the kernel's table is read, no mount is touched. */
import type { Config } from '../../config/config';
import type { KeeperList } from '../../fuse/keeper/keeper';
import { FUSE_TYPE, mountAt } from '../../fuse/keeper/own-mounts';
import type { MountEntry } from '../../native/mountinfo';
import type { Check } from './finding';

const AUTOFS_CURE = 'run: systemctl disable --now autofs, or remove /cvmfs from its maps, or set mount_root to another directory';

export function mountChecks(config: Config, table: readonly MountEntry[], list: KeeperList | null): Check[] {
  const kept = new Set(list?.mounts.map(({ mountpoint }) => mountpoint));
  const root: Check = {
    name: 'mount_root',
    run(report) {
      const entry = mountAt(table, config.mountRoot);
      if (entry === undefined) report.ok('is no mount of somebody else', config.mountRoot);
      else if (entry.type === 'autofs') report.problem('is kept by autofs, which would mount the stock client there', AUTOFS_CURE, config.mountRoot);
      else if (entry.type.startsWith('fuse')) report.problem(`shows ${entry.source.toString()} (${entry.type})`, `run: umount ${config.mountRoot}, or set mount_root to another directory`, config.mountRoot);
      else report.ok(`is a mount of type ${entry.type}`, config.mountRoot);
    },
  };
  const repositories = [...config.repositories.values()].map(
    ({ fqrn, values }): Check => ({
      name: 'mount point',
      run(report) {
        const target = `${config.mountRoot}/${fqrn}`;
        const entry = mountAt(table, target);
        if (values.mount === 'external') report.problem(`mount = "external" of ${fqrn} comes with a later release`, 'remove it, so that the repository is mounted by mesos-cvmfs', target);
        else if (entry === undefined) report.ok('is free', target);
        else if (entry.type !== FUSE_TYPE) report.problem(`shows ${entry.source.toString()} (${entry.type})`, entry.type === 'autofs' ? AUTOFS_CURE : `run: umount ${target}, and keep the stock client from mounting it again; or set mount_root to another directory`, target);
        else if (list !== null && !kept.has(target)) report.warning('is mounted by a keeper of another run_dir, or by none', `see mesos-cvmfs status; run: mesos-cvmfs umount ${target}, with the --run-dir of its keeper`, target);
        else report.ok('is mounted', target);
      },
    }),
  );
  return [root, ...repositories];
}
