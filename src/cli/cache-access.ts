/**
 * The cache of this host for commands: through a file system server that uses it, since it knows what is in use, else
 * opened in this process, which becomes the cache's owner for good before it touches it.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import type { CheckReport } from '../cache/check';
import type { CacheUsage } from '../cache/object-cache';
import type { Config } from '../config/config';
import { MountedClient } from '../fuse/control/mounted-client';
import { createDescriptorLogger } from '../log/descriptor-logger';
import { keeperList } from './mounted-repositories';

/** Reading a cache of some TB takes hours. */
const CHECK_TIMEOUT_MS = 24 * 3_600_000;
const WIPE_TIMEOUT_MS = 3_600_000;
const USAGE_TIMEOUT_MS = 60_000;

export interface CacheAccess {
  readonly dir: string;
  /** Which mount answers; null: this process does. */
  readonly through: string | null;
  usage(): Promise<CacheUsage>;
  check(options: { readonly repair: boolean }): Promise<CheckReport>;
  wipe(options: { readonly force: boolean }): Promise<{ readonly freedBytes: number }>;
  close(): Promise<void>;
}

/** NOT_FOUND when there is no cache yet. */
export async function openCache(config: Config): Promise<CacheAccess> {
  const { dir, limitBytes } = config.cache;
  const stat = fs.statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined) throw new Failure('NOT_FOUND', `there is no cache in ${dir}`, { next: 'the first mount makes it; else give --cache-dir' });
  const mount = ((await keeperList(config.runDir))?.mounts ?? []).find((one) => one.cacheDir === dir);
  if (mount !== undefined) {
    const client = new MountedClient(mount);
    return {
      dir,
      through: mount.mountpoint,
      usage: async () => (await client.raw('cacheUsage', {}, USAGE_TIMEOUT_MS)) as CacheUsage,
      check: async (options) => (await client.raw('cacheCheck', options, CHECK_TIMEOUT_MS)) as CheckReport,
      wipe: async (options) => (await client.raw('cacheWipe', options, WIPE_TIMEOUT_MS)) as { freedBytes: number },
      close: async () => client.close(),
    };
  }
  const { ObjectCache } = await import('../cache/object-cache');
  become(stat.uid, stat.gid);
  const cache = await ObjectCache.open({ dir, limitBytes }, { log: createDescriptorLogger(2, { level: 'error' }) });
  return {
    dir,
    through: null,
    usage: async () => cache.usage(),
    check: (options) => cache.check(options),
    wipe: (options) => cache.wipe(options),
    close: () => cache.close(),
  };
}

/** Root would follow links that whoever owns the cache may have put into it; its owner can not harm more than itself. */
function become(uid: number, gid: number): void {
  if (process.geteuid!() !== 0 || uid === 0) return;
  process.setgroups!([]);
  process.setgid!(gid);
  process.setuid!(uid);
}
