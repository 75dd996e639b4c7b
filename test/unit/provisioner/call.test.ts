import { EventEmitter } from 'node:events';
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { Failure } from '../../../src/error';
import { silentLogger } from '../../../src/log/logger';
import { createMetrics } from '../../../src/metrics/metrics';
import type { CallScope } from '../../../provisioner/grpc/call';
import { handler } from '../../../provisioner/grpc/call';
import { provisionerMetrics } from '../../../provisioner/metrics';

class FakeCall extends EventEmitter {
  constructor(private readonly deadline: Date | number) {
    super();
  }

  getDeadline(): Date | number {
    return this.deadline;
  }
}

describe('a call', () => {
  const metrics = createMetrics({ processMetrics: false });
  const options = { logger: silentLogger, metrics: provisionerMetrics(metrics), defaultDeadlineMs: 50, maxDeadlineMs: 100, nowMs: Date.now };
  const run = (deadline: Date | number, work: (request: string, scope: CallScope) => Promise<string>): { answer: Promise<string>; call: FakeCall } => {
    const call = new FakeCall(deadline);
    return { call, answer: handler('Test', options, work)('request', call as unknown as ServerUnaryCall<unknown, string>) };
  };
  const never = (): Promise<string> => new Promise(() => undefined);

  it('ends after the default when the caller sets no deadline', async () => {
    await expect(run(Infinity, never).answer).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: expect.stringContaining('50 ms') });
  });

  it('takes no longer deadline than the limit', async () => {
    await expect(run(Date.now() + 3_600_000, never).answer).rejects.toMatchObject({ message: expect.stringContaining('100 ms') });
  });

  it('ends at once when its deadline has passed already', async () => {
    await expect(run(new Date(Date.now() - 1000), never).answer).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  it('tells its work that the caller has gone', async () => {
    let signal: AbortSignal | undefined;
    const { call, answer } = run(Infinity, (_request, scope) => {
      signal = scope.signal;
      return never();
    });
    call.emit('cancelled');
    await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(signal!.aborted).toBe(true);
  });

  it('counts answers by their code', async () => {
    await run(Infinity, () => Promise.resolve('fine')).answer;
    await run(Infinity, () => Promise.reject(new Failure('NOT_FOUND', 'no'))).answer.catch(() => undefined);
    const { text } = await metrics.render();
    expect(text).toContain('mesos_cvmfs_calls_total{method="Test",code="OK"} 1');
    expect(text).toContain('mesos_cvmfs_calls_total{method="Test",code="NOT_FOUND"} 1');
  });
});
