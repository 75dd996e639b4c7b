/**
 * A keeper that a service manager started takes the place of one that a command started: only its descriptors are stored.
 * The other one is told to end, which no reader notices, as no keeper's end is.
 */
import { KeeperClient } from '../control/keeper-client';
import { lockKeeper } from './keeper';

const RETRY_MS = 100;

/** The lock of the `run_dir`, as soon as its holder is gone. Waits for one that has a service manager itself. */
export async function lockInPlaceOf(runDir: string): Promise<number> {
  for (let lock = lockKeeper(runDir); ; lock = lockKeeper(runDir)) {
    if (lock !== null) return lock;
    await endUnmanaged(runDir);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function endUnmanaged(runDir: string): Promise<void> {
  const other = await KeeperClient.find(runDir);
  try {
    const list = await other?.list();
    if (list !== undefined && !list.stored) process.kill(list.keeperPid, 'SIGTERM');
  } catch {
    // It is about to end, or to be ready: looked at again.
  } finally {
    other?.close();
  }
}
