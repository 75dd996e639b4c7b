/**
 * A backend makes the image's directory into a container's root file system. Both its works run in a helper process.
 * Obligations: `makeDirectories` may be repeated; `mount` runs once and leaves no mount behind when it fails;
 * `directories` names all that belongs to one rootfs, so that it can be removed without the backend's help.
 */
import type { RepositoryReader, Snapshot } from '../../src/repository/reader';
import type { ContainerId } from '../container-id';
import type { BackendName } from '../layout';
import type { ViewSource } from '../mount-helper/operations';

/** One root file system: whose, which. */
export interface Place {
  readonly container: ContainerId;
  readonly uuid: string;
}

export interface Backend {
  readonly name: BackendName;
  /** Whether this image can be used so; FAILED_PRECONDITION says what is missing and the cure. */
  check(reader: RepositoryReader, snapshot: Snapshot, path: Buffer): Promise<void>;
  makeDirectories(place: Place): Promise<void>;
  /** DEADLINE_EXCEEDED, SYSTEM, FAILED_PRECONDITION when the view is not where it should be. */
  mount(place: Place, source: ViewSource, options: { readonly inodeBits: 32 | 64 }): Promise<void>;
  /** Writable directories to charge to the sandbox' quota (spec 1.12). */
  ephemeralVolumes(place: Place): string[];
  /** Everything on disk that belongs to the rootfs, the mount point first. */
  directories(place: Place): string[];
}
