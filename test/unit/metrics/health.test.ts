import { Health, type Warning } from '../../../src/metrics/health';

describe('Health', () => {
  it('keeps the first time, tells each change once, and forgets what is over', () => {
    let second = 0;
    const changes: [string, boolean][] = [];
    const health = new Health({ now: () => new Date(Date.UTC(2026, 0, 1, 0, 0, second++)), onChange: (warning, over) => changes.push([warning.text, over]) });
    const input = { code: 'SERVER_USER_ABSENT', title: 'no server user', text: 'a', severity: 'warning' } as const;
    health.raise(input);
    health.raise(input);
    health.raise({ ...input, text: 'b' });
    expect(health.warnings()).toEqual<Warning[]>([{ ...input, text: 'b', since: '2026-01-01T00:00:00.000Z' }]);
    health.clear('SERVER_USER_ABSENT');
    health.clear('SERVER_USER_ABSENT');
    expect(health.warnings()).toEqual([]);
    expect(changes).toEqual([['a', false], ['b', false], ['b', true]]);
  });

  it('tells subjects apart and shows the worst first', () => {
    const health = new Health();
    health.raise({ code: 'B', title: 'b', text: 'b', severity: 'info' });
    health.raise({ code: 'MOUNT_FAILED', subject: 'x', title: 'm', text: 'x', severity: 'error' });
    health.raise({ code: 'MOUNT_FAILED', subject: 'y', title: 'm', text: 'y', severity: 'error' });
    expect(health.warnings().map((warning) => warning.text)).toEqual(['x', 'y', 'b']);
    health.clear('MOUNT_FAILED', 'x');
    expect(health.warnings().map((warning) => warning.text)).toEqual(['y', 'b']);
  });

  it('is bounded, and keeps errors before notes', () => {
    const health = new Health({ maxWarnings: 3 });
    health.raise({ code: 'E', title: 'e', text: 'e', severity: 'error' });
    for (let index = 0; index < 100; index++) health.raise({ code: 'N', subject: String(index), title: 'n', text: String(index), severity: 'info' });
    expect(health.warnings().map((warning) => warning.text)).toEqual(['e', '98', '99']);
  });
});
