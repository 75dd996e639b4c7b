/**
 * The helper process: takes one operation at a time from the service and answers it. The kernel kills it with the
 * service, in the middle of a call too, so that calls that hang do not pile up from one service to the next.
 */
import { Failure } from '../../src/error';
import { libc } from '../../src/native/libc';
import type { Operation } from './operations';
import { perform } from './operations';

export type FromHelper = { readonly ready: true } | { readonly ready: false; readonly count?: number; readonly failure?: ReturnType<Failure['toJSON']> };

function main(): void {
  const native = libc();
  native.dieWithParent();
  const answer = (message: FromHelper): void => {
    // With a callback, so that a service that has just died is no error here.
    process.send?.(message, undefined, undefined, () => undefined);
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

main();
