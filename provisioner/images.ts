/** What the provisioner needs to know about images: what a message asks for, and where that lies now. */
import type { Snapshot } from '../src/repository/reader';
import type { Image, ImageManifest } from './grpc/generated/messages.generated';

export interface FoundImage {
  /** Canonical text of the reference. */
  readonly reference: string;
  /** Fully qualified repository name. */
  readonly repository: string;
  /** Directory in the repository, absolute, no symbolic link in it, bytes. */
  readonly path: Buffer;
  readonly snapshot: Snapshot;
  /** `sha256:…`, equal as long as the image is. */
  readonly digest: string;
  /** `config` inside is always set. */
  readonly manifest: ImageManifest;
  /** Where the manifest comes from; `none`. */
  readonly configSource: string;
  /** Sources that had something unusable. */
  readonly warnings: readonly string[];
}

export interface Images {
  /** Canonical text of what is asked for, without any look at a repository. INVALID_ARGUMENT, UNIMPLEMENTED (APPC). */
  reference(image: Image): string;
  /** Canonical texts of all images that it may stand for: a name of the facade has several. */
  references(image: Image): readonly string[];
  /** Finds it in the newest revisions; a docker name in `onlyIn` alone when that is given. NOT_FOUND names every place that was looked at. */
  resolve(image: Image, signal: AbortSignal, onlyIn?: string): Promise<FoundImage>;
}
