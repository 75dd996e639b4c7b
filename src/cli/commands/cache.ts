/** `mesos-cvmfs cache usage`, `check` and `wipe`: with file system servers running, and without. */
import { Failure } from '../../error';
import type { CheckReport, Finding } from '../../cache/check';
import type { CacheAccess } from '../cache-access';
import { openCache } from '../cache-access';
import { configuration } from '../context';
import { print, size, table } from '../output';
import type { CommonOptions } from '../common-options';

interface CacheOptions extends CommonOptions {
  readonly cacheDir?: string;
  readonly repair?: boolean;
  readonly force?: boolean;
}

async function withCache(options: CacheOptions, work: (cache: CacheAccess) => Promise<void>): Promise<void> {
  const cache = await openCache(configuration(options, { cacheDir: options.cacheDir }));
  try {
    await work(cache);
  } finally {
    await cache.close();
  }
}

export async function usage(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CacheOptions;
  await withCache(options, async (cache) => {
    const found = await cache.usage();
    const rows = [
      ['cache', cache.dir],
      ['objects', String(found.objects)],
      ['used', `${size(found.bytes)} of ${size(found.effectiveLimitBytes)}${found.effectiveLimitBytes < found.limitBytes ? `, the disk has no room for the configured ${size(found.limitBytes)}` : ''}`],
      ['pinned', size(found.pinnedBytes)],
      ...(found.unreachableBytes === 0 ? [] : [['kept', `${size(found.unreachableBytes)} for containers whose server is away`]]),
      ...found.owners.map(({ owner, pins, uses, reachable }) => ['owner', `${owner}: pins ${pins}, uses ${uses}${reachable ? '' : ', its server is away'}`]),
    ];
    print(options.json === true, { dir: cache.dir, ...found }, table(rows));
  });
}

export async function check(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CacheOptions;
  await withCache(options, async (cache) => {
    const report = await cache.check({ repair: options.repair === true });
    print(options.json === true, { dir: cache.dir, ...report }, reportText(report));
    if (!report.sound) throw new Failure('OBJECT_CORRUPT', `the cache ${cache.dir} is not sound`, { next: 'run: mesos-cvmfs cache check --repair' });
  });
}

function reportText(report: CheckReport): string {
  const found = (what: string, { count, names }: Finding): string => {
    const shown = names.slice(0, 10).map((name) => `  ${name}\n`);
    return count === 0 ? '' : `${count} ${what}${report.repaired ? ', repaired' : ''}\n${shown.join('')}${count > shown.length ? `  and ${count - shown.length} more\n` : ''}`;
  };
  const { recorded, actual } = report.totals;
  const totals = recorded.bytes === actual.bytes && recorded.objects === actual.objects ? '' : `the sums of the index were wrong${report.repaired ? ', repaired' : ''}\n`;
  return [
    `${report.objects} objects, ${size(report.bytes)}: ${report.sound ? 'sound' : 'not sound'}\n`,
    found('damaged objects', report.damaged),
    found('objects without a record', report.unrecorded),
    found('records without an object', report.missing),
    found('files that are no objects', report.strangers),
    found('leftovers of processes that died', report.staleTempFiles),
    totals,
  ].join('');
}

export async function wipe(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CacheOptions;
  await withCache(options, async (cache) => {
    const { freedBytes } = await cache.wipe({ force: options.force === true });
    print(options.json === true, { dir: cache.dir, freed_bytes: freedBytes }, `${size(freedBytes)} freed`);
  });
}
