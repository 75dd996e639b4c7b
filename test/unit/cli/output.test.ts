import { size, table } from '../../../src/cli/output';
import { progress } from '../../../src/cli/progress';

describe('tables', () => {
  it('align their columns and leave no blanks at the end', () => {
    expect(table([['a', 'long cell', 'x'], ['longer', 'b', 'y']])).toBe('a       long cell  x\nlonger  b          y\n');
    expect(table([])).toBe('');
  });

  it('show sizes in the unit that fits', () => {
    expect([0, 999, 1000, 5_900_000, 20e9, 3e15].map(size)).toEqual(['0 B', '999 B', '1.0 kB', '5.9 MB', '20.0 GB', '3000.0 TB']);
  });
});

describe('progress', () => {
  function shown(isTTY: boolean, json = false): { written: string[]; clock: { at: number }; bar: ReturnType<typeof progress> } {
    const written: string[] = [];
    const clock = { at: 0 };
    const bar = progress({ isTTY, columns: 60, write: (text) => written.push(text) }, json, () => clock.at);
    return { written, clock, bar };
  }

  it('is one line that is written over on a terminal, and cleared at the end', () => {
    const { written, clock, bar } = shown(true);
    bar.update(() => 'half', 0.5);
    bar.update(() => 'too soon', 0.6);
    clock.at = 200;
    bar.update(() => `${'x'.repeat(100)}`);
    bar.end();
    expect(written).toEqual([`\r\u001b[K[${'#'.repeat(12)}${'.'.repeat(12)}] half`, `\r\u001b[K[..#${'.'.repeat(21)}] ${'x'.repeat(32)}`, '\r\u001b[K']);
  });

  it('is a plain line now and then elsewhere', () => {
    const { written, clock, bar } = shown(false);
    bar.update(() => 'at once');
    clock.at = 6_000;
    bar.update(() => 'after some seconds', 0.5);
    bar.end();
    expect(written).toEqual(['after some seconds\n']);
  });

  it('is nothing with --json', () => {
    const { written, clock, bar } = shown(true, true);
    clock.at = 60_000;
    bar.update(() => 'text');
    bar.end();
    expect(written).toEqual([]);
  });
});
