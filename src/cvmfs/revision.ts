/**
 * Rollback protection (spec 3.6): a server's manifest is taken only when its revision is above the best one known
 * locally. A repository that was made anew with a lower counter is never taken up until the cache is wiped; that is the
 * price, and stock clients pay it too.
 */
import { sameHash } from './hash';
import type { Breadcrumb } from './breadcrumb';

export type Choice =
  /** Take the server's: nothing was known, or it is newer. */
  | { readonly use: 'server'; readonly why: 'first' | 'newer' }
  /**
   * Stay: up to date (`same`), the server lags behind or answers nothing (`older`, `offline`), or it has another root
   * under the same revision, of which the operator should hear (`conflict`).
   */
  | { readonly use: 'cached'; readonly why: 'same' | 'older' | 'offline' | 'conflict' }
  /** Neither is there. */
  | { readonly use: 'none' };

/** `cached` is the best of what is mounted and the breadcrumb; `server` has passed the trust chain. */
export function chooseRevision({ cached, server }: { cached?: Breadcrumb | undefined; server?: Breadcrumb | undefined }): Choice {
  if (server === undefined) return cached === undefined ? { use: 'none' } : { use: 'cached', why: 'offline' };
  if (cached === undefined) return { use: 'server', why: 'first' };
  if (server.revision < cached.revision) return { use: 'cached', why: 'older' };
  if (server.revision === cached.revision) return { use: 'cached', why: sameHash(server.rootHash, cached.rootHash) ? 'same' : 'conflict' };
  return server.timestamp < cached.timestamp ? { use: 'cached', why: 'older' } : { use: 'server', why: 'newer' };
}
