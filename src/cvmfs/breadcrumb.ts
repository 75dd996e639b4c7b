/**
 * The breadcrumb: one line that a client keeps about the newest manifest it accepted, file `cvmfschecksum.<fqrn>`
 * beside its cache (spec 1.2). It is what rollback protection remembers over a restart.
 *
 *     80f702d1a66192c7fea50647a6fb339b50271a77-shake128T1795226447R6
 *
 * Old clients wrote no `R…`: revision 0.
 */
import { Failure } from '../error';
import { formatHash, parseHash } from './hash';
import type { ContentHash } from './hash';

/** What identifies an accepted manifest. */
export interface Breadcrumb {
  readonly rootHash: ContentHash;
  /** Unix seconds, `T` of the manifest. */
  readonly timestamp: number;
  readonly revision: number;
}

export function breadcrumbFileName(fqrn: string): string {
  return `cvmfschecksum.${fqrn}`;
}

/** STATE_DAMAGED for anything else, a cut line for one. */
export function parseBreadcrumb(text: string): Breadcrumb {
  const match = /^([0-9a-f]{40}(?:-rmd160|-shake128)?)T([0-9]{1,15})(?:R([0-9]{1,15}))?\n?$/.exec(text);
  if (match === null) {
    throw new Failure('STATE_DAMAGED', `not a breadcrumb: ${JSON.stringify(text.slice(0, 80))}`, {
      next: 'remove the file to start without the memory of older revisions',
    });
  }
  return { rootHash: parseHash(match[1]!), timestamp: Number(match[2]), revision: Number(match[3] ?? '0') };
}

export function serializeBreadcrumb(breadcrumb: Breadcrumb): string {
  return `${formatHash(breadcrumb.rootHash)}T${breadcrumb.timestamp}R${breadcrumb.revision}`;
}
