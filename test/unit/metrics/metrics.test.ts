import * as prom from 'prom-client';
import { createMetrics } from '../../../src/metrics/metrics';

describe('createMetrics', () => {
  it('renders with prefix, labels and types', async () => {
    const metrics = createMetrics({ processMetrics: false });
    metrics.counter('provisions_total', { help: 'Provisions.', labels: ['result'] }).inc({ result: 'ok' });
    metrics.gauge('mounts', { help: 'Mounts.', read: () => 3 });
    metrics.histogram('provision_duration_seconds', { help: 'Time of a provision.' }).observe(0.2);
    const { text, contentType } = await metrics.render();
    expect(contentType).toMatch(/^text\/plain/);
    expect(text).toContain('mesos_cvmfs_provisions_total{result="ok"} 1');
    expect(text).toContain('mesos_cvmfs_mounts 3');
    expect(text).toContain('mesos_cvmfs_provision_duration_seconds_count 1');
  });

  it('does not touch the global registry, and two registries do not meet', async () => {
    const [a, b] = [createMetrics(), createMetrics()];
    a.counter('requests_total', { help: 'x' }).inc();
    b.counter('requests_total', { help: 'x' }).add(5);
    expect((await a.render()).text).toContain('mesos_cvmfs_requests_total 1');
    expect((await b.render()).text).toContain('mesos_cvmfs_requests_total 5');
    expect((await a.render()).text).toContain('mesos_cvmfs_process_resident_memory_bytes');
    expect(await prom.register.metrics()).toBe('\n');
  });

  it('counts what is beyond its series under "other"', async () => {
    const metrics = createMetrics({ processMetrics: false });
    const counter = metrics.counter('lookups_total', { help: 'x', labels: ['image'], maxSeries: 3 });
    for (let image = 0; image < 1000; image++) counter.inc({ image: `image-${image}` });
    counter.inc({ image: 'image-1' });
    const lines = (await metrics.render()).text.split('\n').filter((line) => line.startsWith('mesos_cvmfs_lookups_total{'));
    expect(lines).toHaveLength(4);
    expect(lines).toContain('mesos_cvmfs_lookups_total{image="image-1"} 2');
    expect(lines).toContain('mesos_cvmfs_lookups_total{image="other"} 997');
  });

  it('gives the place of a removed series to another', async () => {
    const metrics = createMetrics({ processMetrics: false });
    const gauge = metrics.gauge('revision', { help: 'x', labels: ['repository'], maxSeries: 1 });
    gauge.set(1, { repository: 'a' });
    gauge.remove({ repository: 'a' });
    gauge.set(2, { repository: 'b' });
    const { text } = await metrics.render();
    expect(text).toContain('{repository="b"} 2');
    expect(text).not.toContain('repository="a"');
  });

  it('refuses names against the rules', () => {
    const metrics = createMetrics({ processMetrics: false });
    expect(() => metrics.counter('provisions', { help: 'x' })).toThrow(/_total/);
    expect(() => metrics.gauge('things_total', { help: 'x' })).toThrow(/_total/);
    expect(() => metrics.histogram('duration_ms', { help: 'x' })).toThrow(/base units/);
    expect(() => metrics.gauge('mesos_cvmfs_mounts', { help: 'x' })).toThrow(/prefix/);
  });
});
