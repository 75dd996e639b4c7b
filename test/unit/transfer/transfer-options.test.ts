import { Failure } from '../../../src/error';
import { createTransfer } from '../../../src/transfer/transfer';
import { transferOptions } from '../../../src/transfer/transfer-options';
import { fakeClock } from '../../support/fake-clock';

const world = { clock: fakeClock(), random: () => 0, log: () => undefined };

describe('transfer options', () => {
  it('fill in the defaults, those of the stock client where it has one', () => {
    expect(transferOptions({ servers: ['http://s1/'], maxRetries: undefined as unknown as number })).toMatchObject({
      timeoutMs: 5_000,
      timeoutDirectMs: 10_000,
      lowSpeedLimitBytesPerSecond: 1_024,
      maxRetries: 1,
      backoffInitMs: 2_000,
      backoffMaxMs: 10_000,
      proxyResetAfterMs: 300_000,
      hostResetAfterMs: 1_800_000,
      followRedirects: false,
      maxConnections: 64,
    });
  });

  it.each([{ maxConnections: 0 }, { timeoutMs: 0 }, { maxRetries: -1 }, { maxInFlight: NaN }, { backoffMaxMs: Infinity }])('refuse %j', (wrong) => {
    expect(() => transferOptions({ servers: ['http://s1/'], ...wrong })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('refuse a repository without a server', () => {
    expect(() => createTransfer({ servers: [] }, world)).toThrow(Failure);
  });
});

it.each([{ maxBytes: NaN }, { maxBytes: -1 }, { maxBytes: 1, range: { offset: 0, length: 0 } }, { maxBytes: 1, range: { offset: -1, length: 5 } }, { maxBytes: 1, deadlineMs: NaN }, { maxBytes: 1, path: '../x' }])(
  'a request with %j is refused before anything is asked',
  async (wrong) => {
    const transfer = createTransfer({ servers: ['http://127.0.0.1:9/'] }, world);
    await expect(transfer.fetchBytes({ path: 'o', ...wrong })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(transfer.status().counters.requests).toBe(0);
  },
);
