/** One service per state directory: two would take each other's half-done work for a crash and undo it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../src/error';
import { LOCK_EX, LOCK_NB, libc } from '../src/native/libc';

/** Holds the lock until the returned function is called or the process ends, however it ends. */
export function lockState(stateDir: string): () => void {
  const file = path.join(stateDir, 'serve.lock');
  const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600);
  if (!libc().flock(fd, LOCK_EX | LOCK_NB)) {
    const holder = /^\d{1,10}$/.exec(fs.readFileSync(fd, 'latin1').trim())?.[0];
    fs.closeSync(fd);
    throw new Failure('FAILED_PRECONDITION', `another mesos-cvmfs serve${holder === undefined ? '' : ` (pid ${holder})`} works with ${stateDir}`, { next: 'stop it, or use another state_dir' });
  }
  fs.ftruncateSync(fd);
  fs.writeSync(fd, `${process.pid}\n`, 0);
  return () => fs.closeSync(fd);
}
