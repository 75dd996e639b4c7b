/**
 * The logger of keeper and file system servers: the same lines as the service's, written straight to a descriptor. They
 * are many and must stay small, and winston is 10 MB of memory in each.
 */
import { descriptorWriter } from './descriptor-writer';
import { droppedLine, makeLogger } from './logger';
import type { LineOptions, Logger } from './logger';

export function createDescriptorLogger(fd: number, options: LineOptions = {}): Logger {
  const write = descriptorWriter(fd, (dropped) => droppedLine(dropped, options));
  return makeLogger(options, (_level, line) => write(`${line}\n`));
}
