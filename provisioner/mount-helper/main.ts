/**
 * The helper process: takes one operation at a time from the service and answers it. It is started with a channel to
 * the service and the path of the lock that tells a later service that a helper of an earlier one still runs.
 *
 * It must not outlive the service: an operation that ends after the next service has looked at the mount table would
 * leave a mount that nobody remembers. So the kernel kills it with its parent, in the middle of a call too.
 */
import * as fs from 'node:fs';
import { Failure } from '../../src/error';
import { LOCK_SH, libc } from '../../src/native/libc';
import type { Operation } from './operations';
import { perform } from './operations';

export type FromHelper = { readonly ready: true } | { readonly ready: false; readonly count?: number; readonly failure?: ReturnType<Failure['toJSON']> };

function main(lockFile: string): void {
  const native = libc();
  native.dieWithParent();
  native.flock(fs.openSync(lockFile, 'r'), LOCK_SH);
  const answer = (message: FromHelper): void => {
    process.send?.(message);
  };
  process.on('disconnect', () => process.exit(0));
  process.on('message', (operation: Operation) => {
    try {
      answer({ ready: false, count: perform(native, operation) });
    } catch (err) {
      answer({ ready: false, failure: Failure.from(err).toJSON() });
    }
  });
  if (process.connected) answer({ ready: true });
}

main(process.argv[2]!);
