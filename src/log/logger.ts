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

/** What every logger is made with, wherever its lines go. */
export interface LineOptions {
  /** Lines below this level are not written (default info). */
  readonly level?: LogLevel;
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

/** A logger whose finished lines, without their end, go to `write`. */
export function makeLogger(options: LineOptions, write: (level: LogLevel, line: string) => void): Logger {
  const now = options.now ?? (() => new Date());
  const line = options.format === 'json' ? jsonLine : textLine;
  const lowest = LOG_LEVELS.indexOf(options.level ?? 'info');
  const make = (bound: LogFields): Logger => {
    const log = (level: LogLevel, message: string, fields?: LogFields): void => {
      if (LOG_LEVELS.indexOf(level) > lowest) return;
      write(level, line({ time: now().toISOString(), level, message: redactText(cut(String(message))), fields: redact({ ...bound, ...fields }) as LogFields }));
    };
    return {
      debug: (message, fields) => log('debug', message, fields),
      info: (message, fields) => log('info', message, fields),
      warn: (message, fields) => log('warn', message, fields),
      error: (message, fields) => log('error', message, fields),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make(options.fields ?? {});
}

/** The line that says how many lines were lost. */
export function droppedLine(dropped: number, options: LineOptions): string {
  const now = options.now ?? (() => new Date());
  return (options.format === 'json' ? jsonLine : textLine)({ time: now().toISOString(), level: 'warn', message: 'log lines were dropped', fields: { dropped } });
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
