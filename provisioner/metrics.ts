/** The provisioner's figures on /metrics. */
import type { Counter, Gauge, Histogram, Metrics } from '../src/metrics/metrics';
import { ROOTFS_STATES } from './rootfs-state';
import type { State } from './state/state';

export interface ProvisionerMetrics {
  readonly provisionSeconds: Histogram<'backend' | 'result'>;
  readonly provisionsInFlight: Gauge<never>;
  /** By method and stable code, `OK` for success. */
  readonly calls: Counter<'method' | 'code'>;
  readonly callSeconds: Histogram<'method'>;
  readonly recovered: Counter<'result'>;
  readonly helperRestarts: Counter<never>;
  readonly prunedBytes: Counter<never>;
  readonly prunedImages: Counter<never>;
  /** What could not be removed at once; the janitor comes back to it. */
  readonly removalFailures: Counter<never>;
}

export function provisionerMetrics(metrics: Metrics): ProvisionerMetrics {
  return {
    provisionSeconds: metrics.histogram('provision_duration_seconds', { help: 'From the request of a root file system to its answer', labels: ['backend', 'result'] }),
    provisionsInFlight: metrics.gauge('provisions_in_flight', { help: 'Provisions that have begun and not ended' }),
    calls: metrics.counter('calls_total', { help: 'gRPC calls answered, by method and code', labels: ['method', 'code'] }),
    callSeconds: metrics.histogram('call_duration_seconds', { help: 'gRPC calls from request to answer', labels: ['method'] }),
    recovered: metrics.counter('recovered_rootfses_total', { help: 'Root file systems seen by Recover, by what became of them', labels: ['result'] }),
    helperRestarts: metrics.counter('mount_helper_restarts_total', { help: 'Mount helpers that died or hung and were replaced' }),
    prunedBytes: metrics.counter('pruned_bytes_total', { help: 'Bytes of local disk that PruneImages freed' }),
    prunedImages: metrics.counter('pruned_images_total', { help: 'Images that PruneImages let go' }),
    removalFailures: metrics.counter('rootfs_removal_failures_total', { help: 'Root file systems that could not be removed at the first try' }),
  };
}

/** Gauges that are asked of the state at each scrape. */
export function stateMetrics(metrics: Metrics, state: State): void {
  metrics.gauge('containers', { help: 'Containers that have root file systems', read: () => state.counts().containers });
  for (const kind of ROOTFS_STATES) {
    metrics.gauge(`rootfses_${kind}`, { help: `Root file systems in the state ${kind}`, read: () => state.countsByState().get(kind) ?? 0 });
  }
}
