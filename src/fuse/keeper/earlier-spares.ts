/**
 * The spares of an earlier keeper, which guard its mounts and may take one over at any moment. A new keeper stops them
 * (SIGSTOP): a process that is stopped keeps its descriptors and decides nothing, so the mounts are held until the new
 * keeper's own spare is warm, should keeper and server die before.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ProcessWatch } from '../../native/process-watch';
import { isAlive, isStopped } from '../process-identity';
import type { ProcessIdentity } from '../process-identity';
import { readSpares } from '../server/holder';
import { holdsLock } from './adopted-server';
import { killProcess } from './kill-process';
import { mountDir } from './mount-dir';
import type { MountRecord } from './mount-record';
import { earlierStandbys } from './spare';

/** Threads stop at once unless they wait for a disk. */
const STOP_MS = 1_000;
const POLL_MS = 1;
/** One that is just opening its cache is let go on for so long. */
const ATTEMPTS = 25;
const AGAIN_MS = 10;

type Fate = 'stopped' | 'serves' | 'useless';

/**
 * Stops those that hold mounts and serve none, and resolves with them; ends those that are of no use. Those that serve
 * one by now go on.
 */
export async function stopEarlierSpares(runDir: string, records: readonly MountRecord[], watch: ProcessWatch): Promise<ProcessIdentity[]> {
  // Of all folders: a server whose record is a newer program's is nobody's spare either.
  const dirs = fs.readdirSync(path.join(runDir, 'mounts')).map((id) => mountDir(runDir, id));
  const stopped: ProcessIdentity[] = [];
  const held = new Set<string>();
  // The newest comes first: of two that hold a mount the older one is not needed.
  for (const spare of earlierStandbys(runDir)) {
    const fate = await stop(spare, () => dirs.some((dir) => holdsLock(spare, dir)));
    if (fate === 'serves') continue;
    const holds = dirs.filter((dir) => !held.has(dir) && readSpares(dir).some(({ pid }) => pid === spare.pid));
    // One that was told to serve and does not yet is replaced.
    if (fate === 'stopped' && holds.length > 0 && !records.some(({ server }) => server?.pid === spare.pid)) {
      stopped.push(spare);
      for (const dir of holds) held.add(dir);
    } else {
      const over = watch.ended(spare.pid);
      if (isAlive(spare)) killProcess(spare.pid);
      await over;
    }
  }
  return stopped;
}

/** Stops it where it is in nobody's way. */
async function stop(spare: ProcessIdentity, serves: () => boolean): Promise<Fate> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // Readers wait for it: it is not held up.
    if (serves()) return 'serves';
    send(spare, 'SIGSTOP');
    for (let waited = 0; !isStopped(spare) && !serves(); waited += POLL_MS) {
      if (waited > STOP_MS || !isAlive(spare)) return 'useless';
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    if (!serves() && !hasExclusiveLock(spare.pid)) return 'stopped';
    send(spare, 'SIGCONT');
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  return serves() ? 'serves' : 'useless';
}

/** Of a cache's index: whoever opens it next, our own spare too, would wait for a process that does not go on. */
function hasExclusiveLock(pid: number): boolean {
  return fs
    .readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .some((line) => {
      const [, , , mode, holder] = line.split(/\s+/);
      return mode === 'WRITE' && Number(holder) === pid;
    });
}

function send(spare: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(spare)) return;
  try {
    process.kill(spare.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
