/** Whether the cache can be as large as it may become, and has room beside what is pinned. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { z } from 'zod';
import type { Config } from '../../config/config';
import { MountedClient } from '../../fuse/control/mounted-client';
import type { KeeperList } from '../../fuse/keeper/keeper';
import type { MountEntry } from '../../native/mountinfo';
import { size } from '../output';
import { hangingMountOn } from './careful-path';
import type { Check } from './finding';

/** Above this share of the limit, what is pinned leaves too little for everything else. */
const PINNED_SHARE_MAX = 0.8;
const ASK_MS = 8_000;
const usageShape = z.object({ bytes: z.number(), pinnedBytes: z.number(), limitBytes: z.number(), effectiveLimitBytes: z.number(), unreachableBytes: z.number() }).loose();

export function cacheChecks(config: Config, table: readonly MountEntry[], list: KeeperList | null): Check[] {
  const { dir, limitBytes } = config.cache;
  const usage = async (): Promise<z.infer<typeof usageShape> | null> => {
    const mount = list?.mounts.find(({ cacheDir, serverPid }) => cacheDir === dir && serverPid !== null);
    if (mount === undefined) return null;
    const client = new MountedClient(mount);
    try {
      return usageShape.parse(await client.raw('cacheUsage', {}, ASK_MS));
    } finally {
      client.close();
    }
  };
  return [
    {
      name: 'cache limit',
      async run(report) {
        if (hangingMountOn(table, dir) !== undefined) return report.skipped('the cache lies where looking may hang', dir);
        const there = await nearest(dir);
        const { blocks, bavail, bsize } = await fs.promises.statfs(there);
        const [total, free] = [blocks * bsize, bavail * bsize];
        const used = (await usage())?.bytes ?? 0;
        if (limitBytes > total) report.problem(`cache.limit ${size(limitBytes)} is more than the file system has, ${size(total)}`, 'lower cache.limit, or put cache.dir on a larger disk', dir);
        else if (limitBytes > free + used) report.warning(`cache.limit ${size(limitBytes)} is more than there is room for: ${size(free)} free, ${size(used)} used by the cache`, 'lower cache.limit, or make room', dir);
        else report.ok(`${size(limitBytes)}, on a file system of ${size(total)} with ${size(free)} free`, dir);
      },
    },
    {
      name: 'cache pins',
      async run(report) {
        const said = await usage();
        if (said === null) return report.skipped('no file system server runs that could say what is pinned', dir);
        const { pinnedBytes, effectiveLimitBytes, unreachableBytes } = said;
        if (pinnedBytes > effectiveLimitBytes * PINNED_SHARE_MAX) report.warning(`${size(pinnedBytes)} of ${size(effectiveLimitBytes)} are pinned`, 'raise cache.limit, or unpin images: mesos-cvmfs image pin --list', dir);
        else report.ok(`${size(pinnedBytes)} of ${size(effectiveLimitBytes)} are pinned`, dir);
        if (unreachableBytes > 0) report.warning(`${size(unreachableBytes)} are kept since no server could send them again`, 'see the checks of the repositories', dir);
      },
    },
  ];
}

/** The directory itself or the first one above it that exists. */
async function nearest(dir: string): Promise<string> {
  for (let at = dir; ; at = path.dirname(at)) {
    if (at === '/' || (await fs.promises.stat(at).catch(() => null)) !== null) return at;
  }
}
