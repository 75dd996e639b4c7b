import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Writable } from 'node:stream';
import { requestId, silentLogger, type LogFormat, type LogLevel } from '../../../src/log/logger';
import { createLogger } from '../../../src/log/service-logger';
import { Failure } from '../../../src/error';

function capture(format: LogFormat, level: LogLevel = 'debug') {
  const lines: string[] = [];
  const destination = new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      lines.push(chunk);
      done();
    },
  });
  return { lines, log: createLogger({ level, destination, format, now: () => new Date(1_700_000_000_123) }) };
}

describe('createLogger', () => {
  it('writes a JSON object per line with time, level, message and fields', () => {
    const { lines, log } = capture('json');
    log.info('mounted', { repository: 'a.example.org', revision: 7 });
    expect(lines).toHaveLength(1);
    expect(lines[0]!.endsWith('}\n')).toBe(true);
    expect(JSON.parse(lines[0]!)).toEqual({ time: '2023-11-14T22:13:20.123Z', level: 'info', message: 'mounted', repository: 'a.example.org', revision: 7 });
  });

  it('writes text that a person reads', () => {
    const { lines, log } = capture('text');
    log.warn('proxy failed', { proxy: 'http://p:3128', reason: 'no route', tries: 2, none: undefined, empty: '', list: ['a', 'b c'] });
    expect(lines).toEqual(['2023-11-14T22:13:20.123Z warn  proxy failed proxy=http://p:3128 reason="no route" tries=2 empty="" list=["a","b c"]\n']);
  });

  it('keeps quiet below its level', () => {
    const { lines, log } = capture('json', 'warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(['c', 'd']);
  });

  it('gives every line of a request its id', () => {
    const { lines, log } = capture('json');
    const id = requestId();
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(requestId()).not.toBe(id);
    const request = log.child({ request: id });
    request.info('one');
    request.child({ step: 2 }).info('two', { request: id });
    log.info('three');
    const seen = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(seen.map((line) => line['request'])).toEqual([id, id, undefined]);
    expect(seen[1]!['step']).toBe(2);
  });

  it('lets no field take the place of the level, the time or the message', () => {
    const { lines, log } = capture('json');
    log.info('real', { level: 'error', message: 'forged', time: 'never' });
    expect(JSON.parse(lines[0]!)).toEqual({ time: '2023-11-14T22:13:20.123Z', level: 'info', message: 'real' });
  });

  it('shows a failure with code, data and causes', () => {
    const { lines, log } = capture('json');
    log.error('mount failed', { error: new Failure('NETWORK', 'no server answered', { data: { servers: 2 }, cause: new Error('ECONNREFUSED') }) });
    const seen = JSON.parse(lines[0]!) as { error: Record<string, unknown> };
    expect(seen.error).toMatchObject({ name: 'Failure', code: 'NETWORK', message: 'no server answered', data: { servers: 2 } });
    expect(seen.error['cause']).toMatchObject({ message: 'ECONNREFUSED' });
  });

  it('can not be made to write a second line', () => {
    for (const format of ['text', 'json'] as const) {
      const { lines, log } = capture(format);
      log.info('open\n2026-01-01T00:00:00.000Z error all is lost\r\u001b[2J\u2028\u202e', { 'na\nme': 'va\nlue\u0085', nested: { deep: 'x\ny' } });
      expect(lines).toHaveLength(1);
      expect(lines[0]!.slice(0, -1)).not.toMatch(/[\u0000-\u001f]/);
      if (format === 'text') expect(lines[0]).not.toMatch(/[\u0085\u2028\u202e]/);
    }
  });

  it('has written a line to a descriptor when the call returns, and survives a descriptor that takes nothing', () => {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cvmfs-log-')), 'log');
    const fd = fs.openSync(file, 'w');
    const log = createLogger({ destination: fd, format: 'text' });
    log.info('one');
    log.debug('not shown');
    expect(fs.readFileSync(file, 'utf8')).toMatch(/ info {2}one\n$/);
    fs.closeSync(fd);
    fs.rmSync(path.dirname(file), { recursive: true });

    const full = fs.openSync('/dev/full', 'w');
    const lossy = createLogger({ destination: full });
    expect(() => lossy.error('nobody hears')).not.toThrow();
    fs.closeSync(full);
  });

  it('has a silent twin', () => {
    expect(() => silentLogger.child({ a: 1 }).error('x')).not.toThrow();
  });
});
