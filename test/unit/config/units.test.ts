import * as fc from 'fast-check';
import { formatDuration, formatSize, MAX_DURATION_MS, parseDuration, parseSize } from '../../../src/config/units';

describe('durations', () => {
  it.each([['250ms', 250], ['1s', 1000], ['15m', 900_000], ['1h', 3_600_000], ['1.5h', 5_400_000], ['0s', 0], ['7d', 604_800_000], ['10 s', 10_000]])('%s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  it.each(['', '15', 'm', '-1s', '1 min', '1S', '1s ', ' 1s', '1h30m', '1e3s', '99999999999d', '1.s', 'constructor', '1toString'])('refuses "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(/unit/);
  });
  it('reads back what it writes', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (ms) => expect(parseDuration(formatDuration(ms))).toBe(ms)));
    expect(formatDuration(900_000)).toBe('15m');
  });
});

describe('sizes', () => {
  it.each([['20 GB', 20e9], ['20GB', 20e9], ['512 MiB', 2 ** 29], ['4000 MB', 4e9], ['0 B', 0], ['1.5 TB', 1.5e12], ['1 kB', 1000], ['1 KiB', 1024]])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });
  it.each(['20', '20 gb', '20 G', '-1 GB', 'GB', '9999999 TB', '1  GB', '20 GB '])('refuses "%s"', (text) => {
    expect(() => parseSize(text)).toThrow(/unit/);
  });
  it('reads back what it writes', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 1e15 }), (bytes) => expect(parseSize(formatSize(bytes))).toBe(bytes)));
    expect([formatSize(20e9), formatSize(2 ** 29), formatSize(0)]).toEqual(['20 GB', '512 MiB', '0 B']);
  });
});
