/**
 * The log: few lines, each with fields, one id per request. Two formats of the same record:
 *
 *   json   {"time":"2026-01-02T03:04:05.678Z","level":"info","message":"mounted","repository":"a.example.org","request":"f3…"}
 *   text   2026-01-02T03:04:05.678Z info  mounted repository=a.example.org request=f3…
 *
 * Nothing is written that `redact` does not let through. In the text format control characters are escaped, so that a
 * file name or an answer from the network can not forge a line; JSON does so by itself.
 */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { Writable } from 'node:stream';
import * as winston from 'winston';
import { cut, redact, redactText } from './redact';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export const LOG_LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];
export type LogFormat = 'json' | 'text';
export type LogFields = Readonly<Record<string, unknown>>;

/** What every room logs to; an `Error` under any field is shown with its code, data and causes. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose every line carries these fields too, for example `child({request: requestId()})`. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  /** Lines below this level are not written (default info). */
  readonly level?: LogLevel;
  /** A writable stream, or a file descriptor, which is written synchronously: the last line before a SIGKILL is not lost. */
  readonly destination: NodeJS.WritableStream | number;
  /** Default text. */
  readonly format?: LogFormat;
  /** Fields of every line, for example `{process: 'keeper'}`. */
  readonly fields?: LogFields;
  readonly now?: () => Date;
}

/** An id for one request, 16 hexadecimal digits: short enough to read aloud, long enough not to meet twice in a log. */
export function requestId(randomBytes: (size: number) => Buffer = crypto.randomBytes): string {
  return randomBytes(8).toString('hex');
}

export function createLogger(options: LoggerOptions): Logger {
  const now = options.now ?? (() => new Date());
  const line = options.format === 'json' ? jsonLine : textLine;
  const droppedLine = (dropped: number): string => line({ time: now().toISOString(), level: 'warn', message: 'log lines were dropped', fields: { dropped } });
  const stream = typeof options.destination === 'number' ? descriptorStream(options.destination, droppedLine) : options.destination;
  const root = winston.createLogger({
    level: options.level ?? 'info',
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: winston.format.printf((info) => line(info['record'] as LogRecord)),
    transports: [new winston.transports.Stream({ stream, eol: '\n' })],
    exitOnError: false,
  });
  const make = (bound: LogFields): Logger => {
    const write = (level: LogLevel, message: string, fields?: LogFields): void => {
      if (!root.isLevelEnabled(level)) return;
      const record: LogRecord = { time: now().toISOString(), level, message: redactText(cut(String(message))), fields: redact({ ...bound, ...fields }) as LogFields };
      root.log({ level, message: '', record });
    };
    return {
      debug: (message, fields) => write('debug', message, fields),
      info: (message, fields) => write('info', message, fields),
      warn: (message, fields) => write('warn', message, fields),
      error: (message, fields) => write('error', message, fields),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make(options.fields ?? {});
}

/** A logger that writes nothing, for libraries used without one and for tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};

interface LogRecord {
  readonly time: string;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

function jsonLine({ time, level, message, fields }: LogRecord): string {
  // Time, level and message come first, and a field can not take their place.
  return JSON.stringify(Object.assign({ time, level, message }, fields, { time, level, message }));
}

function textLine({ time, level, message, fields }: LogRecord): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${plain(key)}=${fieldText(value)}`);
  return `${time} ${level.padEnd(5)} ${plain(message)}${pairs.join('')}`;
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  const bare = typeof value !== 'object' && text !== '' && !/[\s"=\\]/.test(text);
  return plain(bare || typeof value === 'object' ? text : JSON.stringify(text));
}

/** Escapes C0 and C1 control characters, line separators, and the marks that turn the writing direction round. */
function plain(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\r') return '\\r';
    if (character === '\t') return '\\t';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/**
 * Writes to a descriptor at once. A log must not stop the service: when the reader of a pipe does not keep up (EAGAIN) or
 * the disk is full, the line is dropped and counted, and the count is written when there is room again.
 */
function descriptorStream(fd: number, droppedLine: (dropped: number) => string): Writable {
  let dropped = 0;
  return new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      let bytes = Buffer.from((dropped === 0 ? '' : `${droppedLine(dropped)}\n`) + chunk);
      try {
        while (bytes.length > 0) bytes = bytes.subarray(fs.writeSync(fd, bytes));
        dropped = 0;
      } catch {
        dropped += 1;
      }
      done();
    },
  });
}
