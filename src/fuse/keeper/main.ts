/** The keeper's process: locks, starts, and ends when there is nothing left to keep. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { descriptorSocket } from '../../native/descriptor-socket';
import { libc } from '../../native/libc';
import { createProcessWatch } from '../../native/process-watch';
import { createDescriptorLogger, RUN_LOG_MAX_BYTES } from '../../log/descriptor-logger';
import { descriptors } from '../../native/descriptor';
import { notifySocketOf } from '../../native/notify-socket';
import { descriptorStore } from './descriptor-store';
import { Failure } from '../../error';
import { FORCE_CLONES, Keeper, lockKeeper } from './keeper';
import type { KeeperEnd } from './keeper';
import { lockInPlaceOf } from './managed-keeper';
import { startSuccessor } from './successor';
import type { UpgradeState } from './upgrade';

/** A server keeps some thousand objects and catalogs open, a spare three descriptors a mount. */
const OPEN_FILES = 65_536;

function openLog(runDir: string): number {
  return fs.openSync(path.join(runDir, 'keeper.log'), fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW, 0o600);
}

/**
 * Runs until the last mount has been gone for a while, or for ever when a service manager started it, which would only start
 * it again. Returns at once when another keeper serves this `run_dir`; one with a service manager takes its place.
 */
export async function runKeeper(runDir: string): Promise<void> {
  fs.mkdirSync(runDir, { recursive: true, mode: 0o711 });
  const manager = notifySocketOf(process.env);
  let lock = lockKeeper(runDir) ?? (manager === null ? null : await lockInPlaceOf(runDir));
  if (lock === null) return;
  process.chdir('/');
  const logFd = openLog(runDir);
  const log = createDescriptorLogger(logFd, { fileMaxBytes: RUN_LOG_MAX_BYTES, fields: { process: 'keeper', pid: process.pid } });
  process.on('uncaughtException', (error) => log.error('uncaught', { error }));
  process.on('unhandledRejection', (error) => log.error('unhandled', { error }));
  // Ending the keeper unmounts nothing, so these are as harmless as SIGKILL; servers serve on.
  for (const signal of ['SIGHUP', 'SIGPIPE'] as const) process.on(signal, () => undefined);
  try {
    fs.writeFileSync('/proc/self/oom_score_adj', '-900');
  } catch (error) {
    log.warn('the keeper is not protected from the OOM killer', { error });
  }
  // What it starts inherits all three: the protection, the limit, and that no program run from here gains privileges.
  libc().setNoNewPrivileges();
  if (!libc().raiseOpenFiles(OPEN_FILES)) log.warn('the limit of open files stays as it is', { wanted: OPEN_FILES });
  const store = descriptorStore({ environment: process.env, pid: process.pid, socket: manager, descriptors: descriptors(), log });
  for (let upgrade: UpgradeState | null = null, held: readonly number[] = []; ; ) {
    const end: KeeperEnd = await new Promise((resolve, reject) => {
      const keeper = new Keeper({ runDir, withoutResend: process.env[FORCE_CLONES] === '1', libc: libc(), log, store, upgrade, sockets: descriptorSocket(), watch: createProcessWatch(), monotonicMs: () => performance.now() }, resolve);
      keeper.start().then(() => {
        for (const fd of held) fs.closeSync(fd);
        held = [];
        store.ready(`keeps the mounts of ${runDir}`);
      }, reject);
    });
    fs.closeSync(lock);
    if (end.successor === null) return log.info('nothing left to keep');
    log.info('this keeper makes room for its successor', { version: end.successor.version });
    // A service manager starts the next one itself, with the descriptors from its store.
    if (manager !== null) return;
    try {
      return await startSuccessor(end.successor, runDir, logFd, log);
    } catch (error) {
      log.error('no successor has come up; this keeper goes on, with what it has loaded', { error });
      const again = lockKeeper(runDir);
      if (again === null) return;
      lock = again;
      held = end.descriptors;
      upgrade = { version: end.successor.version, state: 'failed', step: 'the keeper was not replaced', mountsDone: 0, mountsTotal: 0, failure: Failure.from(error).message };
    }
  }
}
