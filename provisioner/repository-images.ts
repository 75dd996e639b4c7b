/** Images as src/image finds them, in the mounted repositories. */
import type { ConfigCache } from '../src/image/config-cache';
import type { ConfigSource } from '../src/image/config-source';
import type { Candidate } from '../src/image/facade-name';
import { candidatesOf, firstCandidate, parseFacadeName } from '../src/image/facade-name';
import type { ImageReference } from '../src/image/reference';
import { formatReference, parseReference } from '../src/image/reference';
import { referenceOf, resolveImage } from '../src/image/resolve';
import type { RepositoryReader } from '../src/repository/reader';
import type { Image } from './grpc/generated/messages.generated';
import type { FoundImage, Images } from './images';
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
  /** `host:port` of our own facade, as names of images have it. */
  readonly hosts: () => readonly string[];
}

export function repositoryImages({ mounts, configured, imageRepositories, sources, cache, remembered, hosts }: RepositoryImagesOptions): Images {
  /** An image in an app's own words, with the facade's address before it. */
  const named = (image: Image): readonly Candidate[] | undefined => {
    const name = image.type === 'DOCKER' && image.docker !== undefined ? parseFacadeName(image.docker.name, hosts()) : undefined;
    return name === undefined ? undefined : candidatesOf(name, configured);
  };
  const find = (reference: ImageReference, signal: AbortSignal, onlyIn: string | undefined): Promise<FoundImage> => {
    const open = async (fqrn: string): Promise<RepositoryReader> => remembered.reader(await mounts.get(fqrn, signal));
    return resolveImage(reference, { configured, imageRepositories: onlyIn === undefined ? imageRepositories : [onlyIn], open }, { sources, cache, signal });
  };
  return {
    reference: (image) => (named(image) === undefined ? formatReference(referenceOf(image)) : image.docker!.name),
    references: (image) =>
      (named(image) ?? [undefined]).flatMap((candidate) => {
        try {
          return [formatReference(candidate === undefined ? referenceOf(image) : parseReference(candidate.image))];
        } catch (err) {
          // Not every path is a docker name too.
          if (candidate === undefined) throw err;
          return [];
        }
      }),
    resolve: async (image, signal, onlyIn) => {
      const candidates = named(image);
      return candidates === undefined ? find(referenceOf(image), signal, onlyIn) : firstCandidate(candidates, async (one) => find(parseReference(one.image), signal, one.onlyIn));
    },
  };
}
