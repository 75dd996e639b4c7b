/** SIGSTOP: a process that is stopped keeps its descriptors and does nothing with them. */
import { isAlive, isStopped } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';

/** A main thread stops at once unless it waits for a disk. */
const STOP_MS = 1_000;
const POLL_MS = 1;

/** True once its main thread has stopped; false for one that has ended, or does not stop in time. */
export async function stopProcess(identity: ProcessIdentity): Promise<boolean> {
  send(identity, 'SIGSTOP');
  for (let waited = 0; waited <= STOP_MS && isAlive(identity); waited += POLL_MS) {
    if (isStopped(identity)) return true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}

/** Lets it go on. */
export function continueProcess(identity: ProcessIdentity): void {
  send(identity, 'SIGCONT');
}

function send(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
