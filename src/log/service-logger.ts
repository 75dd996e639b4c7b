/** The logger of the service and the command line, on winston. */
import { Writable } from 'node:stream';
import * as winston from 'winston';
import { descriptorWriter } from './descriptor-writer';
import { droppedLine, makeLogger } from './logger';
import type { LineOptions, Logger } from './logger';

export interface LoggerOptions extends LineOptions {
  /** A writable stream, or a file descriptor, which is written synchronously. */
  readonly destination: NodeJS.WritableStream | number;
}

export function createLogger(options: LoggerOptions): Logger {
  const { destination } = options;
  const stream = typeof destination === 'number' ? descriptorStream(destination, options) : destination;
  const root = winston.createLogger({
    level: 'debug',
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: winston.format.printf((info) => String(info.message)),
    transports: [new winston.transports.Stream({ stream, eol: '\n' })],
    exitOnError: false,
  });
  return makeLogger(options, (level, line) => void root.log(level, line));
}

function descriptorStream(fd: number, options: LineOptions): Writable {
  const write = descriptorWriter(fd, (dropped) => droppedLine(dropped, options));
  return new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      write(chunk);
      done();
    },
  });
}
