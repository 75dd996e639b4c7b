/** The facade's figures on /metrics. */
import type { Counter, Gauge, Histogram, Metrics } from '../../src/metrics/metrics';

/** Why a link went. */
export const REMOVALS = ['pruned', 'unreachable', 'unused', 'unknown', 'foreign'] as const;
export type Removal = (typeof REMOVALS)[number];

export interface FacadeMetrics {
  /** By kind (`manifest`, `config`, `layer`, `blob`, `other`) and HTTP status. */
  readonly requests: Counter<'kind' | 'status'>;
  readonly requestSeconds: Histogram<'kind'>;
  readonly linksMade: Counter<never>;
  readonly linksRepaired: Counter<never>;
  readonly linksRemoved: Counter<'reason'>;
  readonly fallbackRequests: Counter<'registry' | 'kind' | 'status'>;
  readonly fallbackBytes: Counter<'registry'>;
  readonly images: Gauge<'state'>;
}

export function facadeMetrics(metrics: Metrics): FacadeMetrics {
  return {
    requests: metrics.counter('facade_requests_total', { help: 'Requests of agents to the registry facade', labels: ['kind', 'status'] }),
    requestSeconds: metrics.histogram('facade_request_duration_seconds', { help: 'From a request of an agent to the end of its answer', labels: ['kind'] }),
    linksMade: metrics.counter('facade_links_made_total', { help: "Links made in the agent's docker store" }),
    linksRepaired: metrics.counter('facade_links_repaired_total', { help: "Links in the agent's docker store that led elsewhere and were mended" }),
    linksRemoved: metrics.counter('facade_links_removed_total', { help: "Links in the agent's docker store that are gone, by why", labels: ['reason'] }),
    fallbackRequests: metrics.counter('facade_fallback_requests_total', { help: 'Manifests and blobs asked of real registries', labels: ['registry', 'kind', 'status'] }),
    fallbackBytes: metrics.counter('facade_fallback_bytes_total', { help: 'Bytes of blobs handed on from real registries', labels: ['registry'] }),
    images: metrics.gauge('facade_images', { help: "Images linked in the agent's docker store, by whether a container uses them", labels: ['state'] }),
  };
}
