/** Images as src/image finds them, in the mounted repositories. */
import type { ConfigCache } from '../src/image/config-cache';
import type { ConfigSource } from '../src/image/config-source';
import { formatReference } from '../src/image/reference';
import { referenceOf, resolveImage } from '../src/image/resolve';
import type { Images } from './images';
import type { Mounts } from './mounts';
import type { RememberedReads } from './remembered-reader';

export interface RepositoryImagesOptions {
  readonly mounts: Mounts;
  readonly configured: readonly string[];
  /** Where docker names are looked up, in order. */
  readonly imageRepositories: readonly string[];
  readonly sources: readonly ConfigSource[];
  readonly cache: ConfigCache;
  readonly remembered: RememberedReads;
}

export function repositoryImages({ mounts, configured, imageRepositories, sources, cache, remembered }: RepositoryImagesOptions): Images {
  return {
    reference: (image) => formatReference(referenceOf(image)),
    resolve: (image, signal, onlyIn) =>
      resolveImage(referenceOf(image), { configured, imageRepositories: onlyIn === undefined ? imageRepositories : [onlyIn], open: async (fqrn) => remembered.reader(await mounts.get(fqrn, signal)) }, { sources, cache, signal }),
  };
}
