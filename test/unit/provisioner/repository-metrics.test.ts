/** What /metrics says of the file system servers, which are other processes. */
import { createMetrics } from '../../../src/metrics/metrics';
import type { Mounts } from '../../../provisioner/mounts';
import { repositoryMetrics } from '../../../provisioner/repository-metrics';

function status(bytes: number, lookups: number): object {
  return {
    revision: 7,
    offline: false,
    waiting: 0,
    ioErrors: 1,
    transfer: { counters: { requests: 3, bytes, failures: 0, retries: 0, corrupt: 0 } },
    objects: { fetched: 2 },
    cache: { usedBytes: 10, limitBytes: 100, pinnedBytes: 5 },
    speculation: { kinds: { walk: { fetchedObjects: 4, fetchedBytes: bytes, usedObjects: 3, usedBytes: 70, wastedObjects: 1, wastedBytes: 30 } } },
    requests: { LOOKUP: lookups },
  };
}

function scene(answer: () => Promise<unknown>) {
  const metrics = createMetrics({ processMetrics: false });
  const mounts = {
    list: () => [{ repository: 'a.example.org', mountpoint: '/cvmfs/a.example.org', state: { kind: 'mounted' } }],
    peek: () => ({ raw: answer }),
  } as unknown as Mounts;
  const refresh = repositoryMetrics(metrics, mounts);
  return async () => {
    await refresh();
    return (await metrics.render()).text;
  };
}

test('counters follow a server, and go on when it is replaced', async () => {
  const answers = [status(100, 5), status(150, 8), status(30, 1)];
  const scrape = scene(() => Promise.resolve(answers.shift()));
  expect(await scrape()).toContain('mesos_cvmfs_received_bytes_total{repository="a.example.org"} 100');
  const second = await scrape();
  expect(second).toContain('mesos_cvmfs_speculation_fetched_bytes_total{repository="a.example.org",kind="walk"} 150');
  expect(second).toContain('mesos_cvmfs_speculation_wasted_objects_total{repository="a.example.org",kind="walk"} 1');
  expect(second).toContain('mesos_cvmfs_received_bytes_total{repository="a.example.org"} 150');
  expect(second).toContain('mesos_cvmfs_fuse_requests_total{repository="a.example.org",operation="LOOKUP"} 8');
  expect(await scrape()).toContain('mesos_cvmfs_received_bytes_total{repository="a.example.org"} 180');
});

test('a server that does not answer, or answers nonsense, is shown as not mounted', async () => {
  const silent = scene(() => Promise.reject(new Error('gone')));
  expect(await silent()).toContain('mesos_cvmfs_repository_mounted{repository="a.example.org"} 0');
  const nonsense = scene(() => Promise.resolve({ revision: 'seven' }));
  expect(await nonsense()).toContain('mesos_cvmfs_repository_mounted{repository="a.example.org"} 0');
});
