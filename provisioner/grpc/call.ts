/** One call: its id in the log, its deadline as a signal, its figures. */
import { Failure } from '../../src/error';
import type { Logger } from '../../src/log/logger';
import { requestId } from '../../src/log/logger';
import { abortable } from '../abort';
import type { ProvisionerMetrics } from '../metrics';
import type { UnaryHandler } from './unary';

export interface CallScope {
  /** Aborted with DEADLINE_EXCEEDED or CANCELLED when nobody waits for the answer any longer. */
  readonly signal: AbortSignal;
  /** Aborted before that, in time for an answer that says what was waited for in vain. */
  readonly soon: AbortSignal;
  readonly logger: Logger;
}

export interface CallOptions {
  readonly logger: Logger;
  readonly metrics: ProvisionerMetrics;
  /** Of a caller who sets none. */
  readonly defaultDeadlineMs: number;
  /** The longest that is taken from a caller who does. */
  readonly maxDeadlineMs: number;
  readonly nowMs: () => number;
}

/** Share of the deadline after which `soon` is aborted. */
const SOON = 0.75;

/** Ours, not the caller's: somebody should look at it. */
const OURS: readonly string[] = ['INTERNAL', 'SYSTEM', 'STATE_DAMAGED', 'NO_SPACE'];

/**
 * Makes a handler of `work`. A caller's deadline ends the waiting of `work` and of the caller; what `work` has begun and
 * does not bind to the signal goes on to its end (a destroy is not stopped half-way).
 */
export function handler<Request, Response>(method: string, options: CallOptions, work: (request: Request, scope: CallScope) => Promise<Response>): UnaryHandler<Request, Response> {
  return async (request, call) => {
    const { metrics, nowMs } = options;
    const logger = options.logger.child({ request: requestId(), method });
    const begin = nowMs();
    const given = Number(call.getDeadline());
    const deadlineMs = Number.isFinite(given) ? Math.min(given - begin, options.maxDeadlineMs) : options.defaultDeadlineMs;
    const abort = new AbortController();
    const late = (): void => abort.abort(new Failure('DEADLINE_EXCEEDED', `${method} did not end within its deadline of ${Math.max(0, Math.round(deadlineMs))} ms`));
    const timer = setTimeout(late, Math.max(0, deadlineMs));
    const soon = new AbortController();
    const soonMs = Math.max(0, Math.round(deadlineMs * SOON));
    const soonTimer = setTimeout(() => soon.abort(new Failure('DEADLINE_EXCEEDED', `${method} had waited for ${soonMs} ms`)), soonMs);
    abort.signal.addEventListener('abort', () => soon.abort(abort.signal.reason), { once: true });
    call.on('cancelled', () => (nowMs() >= begin + deadlineMs ? late() : abort.abort(new Failure('CANCELLED', `${method} was cancelled by its caller`))));
    let code = 'OK';
    try {
      return await abortable(work(request, { signal: abort.signal, soon: soon.signal, logger }), abort.signal);
    } catch (err) {
      const failure = Failure.from(err, method);
      code = failure.code;
      if (OURS.includes(code)) logger.error('call failed', { err: failure });
      else logger.info('call refused', { code, reason: failure.message });
      throw failure;
    } finally {
      clearTimeout(timer);
      clearTimeout(soonTimer);
      metrics.calls.inc({ method, code });
      metrics.callSeconds.observe((nowMs() - begin) / 1000, { method });
    }
  };
}
