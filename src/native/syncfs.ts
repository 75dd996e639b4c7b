/** syncfs(2), which Node does not offer: one call that makes everything written to a file system durable. */
import koffi from 'koffi';
import { Failure } from '../error';

/** Flushes the file system that `fd` lies on, off the main thread (it can take seconds). */
export function syncfs(fd: number): Promise<void> {
  const call = koffi.load('libc.so.6').func('int syncfs(int fd)');
  return new Promise((resolve, reject) => {
    call.async(fd, (err: unknown, result: number) => {
      if (err !== null || result !== 0) reject(new Failure('SYSTEM', 'syncfs: the file system reports a write error', { cause: err }));
      else resolve();
    });
  });
}
