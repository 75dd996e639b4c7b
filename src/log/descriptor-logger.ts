/**
 * The logger of keeper and file system servers: the same lines as the service's, written straight to a descriptor. They
 * are many and must stay small, and winston is 10 MB of memory in each.
 */
import { descriptorWriter } from './descriptor-writer';
import { droppedLine, makeLogger } from './logger';
import type { LineOptions, Logger } from './logger';

/** Of a log in `run_dir`, which is memory: a network that is down makes a line for every read. */
export const RUN_LOG_MAX_BYTES = 1024 * 1024;

/** `fileMaxBytes`: a file begins anew when it has so many; without, it grows. */
export function createDescriptorLogger(fd: number, options: LineOptions & { readonly fileMaxBytes?: number } = {}): Logger {
  const write = descriptorWriter(fd, (dropped) => droppedLine(dropped, options), options.fileMaxBytes);
  return makeLogger(options, (_level, line) => write(`${line}\n`));
}
