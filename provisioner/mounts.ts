/** What the provisioner needs of the mounted repositories. */
import type { Failure } from '../src/error';
import type { MountedRepository } from '../src/repository/reader';

export type MountState =
  | { readonly kind: 'mounting' }
  | { readonly kind: 'mounted' }
  /** The last attempt failed; another one follows at `retryAtMs`. */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly retryAtMs: number };

export interface MountStatus {
  readonly repository: string;
  readonly mountpoint: string;
  readonly state: MountState;
}

export interface Mounts {
  /** Begins to mount every configured repository, in the background. */
  start(): void;
  /** Ends the attempts; unmounts nothing. */
  stop(): void;
  /**
   * A mounted repository, waited for until the signal is aborted, then the failure of the last attempt. NOT_FOUND when it
   * is not configured; a failure that waiting cannot cure (trust, configuration) is thrown at once.
   */
  get(fqrn: string, signal: AbortSignal): Promise<MountedRepository>;
  /** The same without waiting: undefined while it is not mounted. */
  peek(fqrn: string): MountedRepository | undefined;
  list(): readonly MountStatus[];
  /** Asks to look again soon: a use of the mount has failed in a way that says that it is not there. */
  recheck(fqrn: string): void;
  /** Told each time that a repository has been mounted, or was found mounted. */
  onReady(listener: (repository: MountedRepository) => void): void;
}
