/**
 * Metrics of one process: a registry of its own (prom-client's global one would mix tests and roles), names with the
 * prefix `mesos_cvmfs_`, base units (`_seconds`, `_bytes`), counters ending in `_total`. A label's values come from a
 * bounded set: after `maxSeries` different combinations every further one is counted under `other`, so that a hostile or
 * a huge set of names can not fill the memory of this process and of the one that scrapes it.
 */
import * as prom from 'prom-client';
import { Failure } from '../error';

export const METRICS_PREFIX = 'mesos_cvmfs_';
/** Combinations of label values per metric. */
export const DEFAULT_MAX_SERIES = 200;
const OTHER = 'other';

export type Labels<L extends string> = Readonly<Record<L, string>>;

export interface Counter<L extends string> {
  /** Adds `value` (default 1). */
  inc(...args: LabelArgs<L>): void;
  add(value: number, ...args: LabelArgs<L>): void;
}

export interface Gauge<L extends string> {
  set(value: number, ...args: LabelArgs<L>): void;
  add(value: number, ...args: LabelArgs<L>): void;
  /** Forgets one combination, when the thing it stood for is gone. */
  remove(...args: LabelArgs<L>): void;
}

export interface Histogram<L extends string> {
  observe(value: number, ...args: LabelArgs<L>): void;
}

type LabelArgs<L extends string> = [L] extends [never] ? [] : [labels: Labels<L>];

export interface MetricOptions<L extends string> {
  readonly help: string;
  readonly labels?: readonly L[];
  readonly maxSeries?: number;
}

export interface GaugeOptions<L extends string> extends MetricOptions<L> {
  /** Asked at each scrape; for a gauge without labels. */
  readonly read?: () => number;
}

export interface HistogramOptions<L extends string> extends MetricOptions<L> {
  /** Upper bounds in the metric's base unit (default 1 ms to 60 s). */
  readonly buckets?: readonly number[];
}

export interface Metrics {
  readonly registry: prom.Registry;
  /** `name` without prefix, ending in `_total`: `counter('provisions_total', {help, labels: ['result']})`. */
  counter<L extends string = never>(name: string, options: MetricOptions<L>): Counter<L>;
  gauge<L extends string = never>(name: string, options: GaugeOptions<L>): Gauge<L>;
  histogram<L extends string = never>(name: string, options: HistogramOptions<L>): Histogram<L>;
  /** Text of `/metrics` and its content type. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

const DEFAULT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const NAME = /^[a-z][a-z0-9_]*$/;
const NOT_BASE_UNITS = /_(ms|milliseconds|us|microseconds|minutes|kb|mb|kilobytes|megabytes|percent)(_total)?$/;

export interface MetricsOptions {
  /** Also the figures of the Node process (memory, CPU, event loop); default true. */
  readonly processMetrics?: boolean;
}

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new prom.Registry();
  if (options.processMetrics ?? true) prom.collectDefaultMetrics({ register: registry, prefix: METRICS_PREFIX });

  return {
    registry,
    counter<L extends string>(name: string, { help, labels = [], maxSeries }: MetricOptions<L>): Counter<L> {
      if (!name.endsWith('_total')) throw new Failure('INTERNAL', `counter ${name} does not end in _total`);
      const metric: prom.Counter = new prom.Counter({ name: fullName(name), help, labelNames: [...labels], registers: [registry] });
      const bound = boundSeries(labels, maxSeries);
      return { inc: (given?: Labels<L>) => metric.inc(bound(given)), add: (value: number, given?: Labels<L>) => metric.inc(bound(given), value) };
    },
    gauge<L extends string>(name: string, { help, labels = [], maxSeries, read }: GaugeOptions<L>): Gauge<L> {
      if (name.endsWith('_total')) throw new Failure('INTERNAL', `gauge ${name} ends in _total, which is for counters`);
      const metric: prom.Gauge = new prom.Gauge({
        name: fullName(name),
        help,
        labelNames: [...labels],
        registers: [registry],
        ...(read === undefined ? {} : { collect: () => metric.set(read()) }),
      });
      const bound = boundSeries(labels, maxSeries);
      return {
        set: (value: number, given?: Labels<L>) => metric.set(bound(given), value),
        add: (value: number, given?: Labels<L>) => metric.inc(bound(given), value),
        remove: (given?: Labels<L>) => metric.remove(bound.release(given)),
      };
    },
    histogram<L extends string>(name: string, { help, labels = [], maxSeries, buckets = DEFAULT_BUCKETS }: HistogramOptions<L>): Histogram<L> {
      const metric: prom.Histogram = new prom.Histogram({ name: fullName(name), help, labelNames: [...labels], buckets: [...buckets], registers: [registry] });
      const bound = boundSeries(labels, maxSeries);
      return { observe: (value: number, given?: Labels<L>) => metric.observe(bound(given), value) };
    },
    async render() {
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

function fullName(name: string): string {
  if (!NAME.test(name) || name.startsWith(METRICS_PREFIX)) throw new Failure('INTERNAL', `metric ${name}: the name is lower case and without the prefix`);
  if (NOT_BASE_UNITS.test(name)) throw new Failure('INTERNAL', `metric ${name} is not in base units (seconds, bytes, ratio)`);
  return METRICS_PREFIX + name;
}

type Bound<L extends string> = ((given?: Labels<L>) => Record<string, string>) & { release(given?: Labels<L>): Record<string, string> };

function boundSeries<L extends string>(labels: readonly L[], maxSeries = DEFAULT_MAX_SERIES): Bound<L> {
  const seen = new Set<string>();
  const others = Object.fromEntries(labels.map((label) => [label, OTHER]));
  const valuesOf = (given?: Labels<L>): Record<string, string> => Object.fromEntries(labels.map((label) => [label, (given?.[label] ?? '').slice(0, 200)]));
  const bound = (given?: Labels<L>): Record<string, string> => {
    if (labels.length === 0) return {};
    const values = valuesOf(given);
    const key = JSON.stringify(values);
    if (seen.has(key)) return values;
    if (seen.size >= maxSeries) return others;
    seen.add(key);
    return values;
  };
  const release = (given?: Labels<L>): Record<string, string> => {
    const values = valuesOf(given);
    seen.delete(JSON.stringify(values));
    return values;
  };
  return Object.assign(bound, { release });
}
