/** `mesos-cvmfs keeper`: the process itself, for a service manager; commands start one by themselves. */
import { runKeeper } from '../../fuse/keeper/main';
import { configuration, requireRoot } from '../context';
import type { CommonOptions } from '../common-options';

export async function keeper(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  requireRoot('the keeper');
  await runKeeper(configuration(given as CommonOptions).runDir);
  process.exit(0);
}
