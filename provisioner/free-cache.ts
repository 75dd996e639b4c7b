/** Frees what no container needs from the caches, through the file system servers that know what is used. */
import type { Logger } from '../src/log/logger';
import type { FreeCache } from './context';
import type { Mounts } from './mounts';

const PRUNE_TIMEOUT_MS = 60_000;

/** A mounted repository that can be asked to free its cache; several share one directory. */
interface CacheUser {
  readonly info: { readonly cacheDir: string };
  prune(timeoutMs: number): Promise<number>;
}

function isCacheUser(repository: object): repository is CacheUser {
  return 'info' in repository && 'prune' in repository;
}

/** Every mounted repository's server is asked, since each knows only its own containers; what fails is tried by the next prune. */
export function freeCacheOf(mounts: Mounts, logger: Logger): FreeCache {
  return async () => {
    let freed = 0;
    for (const { repository: fqrn } of mounts.list()) {
      const repository = mounts.peek(fqrn);
      if (repository === undefined || !isCacheUser(repository)) continue;
      try {
        freed += await repository.prune(PRUNE_TIMEOUT_MS);
      } catch (err) {
        logger.warn('the cache could not be freed', { repository: fqrn, cache: repository.info.cacheDir, err });
      }
    }
    return freed;
  };
}
