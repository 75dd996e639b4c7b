/**
 * The keeper's own end during an upgrade. It has let go of everything but copies of the descriptors and starts its successor,
 * which takes the mounts over as after a keeper's death: servers serve on, and the spare guards them meanwhile.
 */
import { spawn } from 'node:child_process';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import { KeeperClient } from '../control/keeper-client';
import { killProcess } from './kill-process';
import { commandFile } from './program';
import type { Program } from './program';

/** It first takes over every mount. */
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 10;

/** Rejects when no keeper listens in time, or the one that was started ended before. The lock must be free. */
export async function startSuccessor(program: Program, runDir: string, logFd: number, log: Logger): Promise<void> {
  const child = spawn(program.node, [commandFile(program), 'keeper', '--run-dir', runDir], { detached: true, cwd: '/', stdio: ['ignore', logFd, logFd], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  let ended: string | null = null;
  child.on('error', (error) => (ended = error.message));
  child.on('exit', (code, signal) => (ended = `it ended with ${signal ?? code}`));
  child.unref();
  for (const giveUpAt = Date.now() + START_TIMEOUT_MS; Date.now() < giveUpAt; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
    const keeper = await KeeperClient.find(runDir);
    if (keeper !== null) {
      try {
        const { keeperPid, keeperVersion } = await keeper.list();
        log.info('another keeper has taken over', { pid: keeperPid, version: keeperVersion });
        return;
      } catch {
        // It has ended since.
      } finally {
        keeper.close();
      }
    }
    if (ended !== null) throw new Failure('FAILED_PRECONDITION', `the keeper of ${program.dir} does not come up: ${ended}`);
  }
  if (child.pid !== undefined) killProcess(child.pid);
  throw new Failure('DEADLINE_EXCEEDED', `the keeper of ${program.dir} was not ready within ${START_TIMEOUT_MS} ms`);
}
