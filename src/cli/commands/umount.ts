/** `mesos-cvmfs umount`. */
import * as path from 'node:path';
import { KeeperClient } from '../../fuse/control/keeper-client';
import { configuration, requireRoot } from '../context';
import { print } from '../output';
import type { CommonOptions } from '../common-options';

export async function umount(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  requireRoot('unmounting');
  const [dir] = args as [string];
  const options = given as CommonOptions & { readonly lazy?: boolean };
  const mountpoint = path.resolve(dir);
  const keeper = await KeeperClient.start(configuration(options).runDir);
  try {
    await keeper.unmount(mountpoint, options.lazy === true);
  } finally {
    keeper.close();
  }
  print(options.json === true, { mountpoint }, '');
}
