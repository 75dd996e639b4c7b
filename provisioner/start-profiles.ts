/**
 * Start profiles at Provision: what containers of the image read first is fetched while this one is still being made, and
 * where nothing is known of this very image, what it reads first is recorded. Begun when the view is there, and waited for
 * by nobody: whatever fails here leaves only a line in the log.
 *
 * A profile of this host is used before one that lies beside the image in its repository.
 */
import { Failure } from '../src/error';
import { profilePath } from '../src/image/ducc-layout';
import { readPlainFile } from '../src/image/plain-file';
import { parseProfile, PROFILE_BYTES_MAX } from '../src/image/start-profile-text';
import type { Logger } from '../src/log/logger';
import type { Metrics } from '../src/metrics/metrics';
import type { MountedRepository, Snapshot, ViewPath } from '../src/repository/reader';
import { mergedFiles } from '../src/repository/start-profile';
import type { StartProfile } from '../src/repository/start-profile';
import type { ProfileFiles } from './profile-files';

/** At the same time; containers that begin meanwhile are not recorded. */
const RECORDINGS_MAX = 32;

export interface ProfiledImage {
  readonly reference: string;
  readonly path: Buffer;
  readonly snapshot: Snapshot;
}

export interface StartProfilesOptions {
  /** False: nothing is recorded, nothing replayed. */
  readonly enabled: boolean;
  /** How long what a container reads is part of its start. */
  readonly recordMs: number;
}

export interface ProfileMetrics {
  readonly recorded: { inc(): void };
  readonly replayed: { inc(labels: { readonly source: 'local' | 'published' }): void };
}

export function profileMetrics(metrics: Metrics, files: ProfileFiles): ProfileMetrics {
  metrics.gauge('start_profiles', { help: 'Start profiles of images on this host', read: () => files.count() });
  return {
    recorded: metrics.counter('start_profiles_recorded_total', { help: 'Start profiles recorded' }),
    replayed: metrics.counter('start_profiles_replayed_total', { help: 'Root file systems whose first files were fetched from a profile', labels: ['source'] }),
  };
}

export class StartProfiles {
  readonly #recording = new Set<string>();
  #stopped = false;

  constructor(
    private readonly files: ProfileFiles,
    private readonly options: StartProfilesOptions,
    private readonly metrics: ProfileMetrics,
    private readonly logger: Logger,
    private readonly nowMs: () => number,
  ) {}

  /** A container on this view is being made. Returns at once, and never throws. */
  begin(image: ProfiledImage, repository: MountedRepository, view: ViewPath): void {
    if (!this.options.enabled || this.#stopped) return;
    void this.#begin(image, repository, view).catch((error: unknown) => this.logger.debug('a start profile was not used', { image: image.reference, error: Failure.from(error) }));
  }

  /** What is being recorded is not written any more. */
  stop(): void {
    this.#stopped = true;
  }

  async #begin(image: ProfiledImage, repository: MountedRepository, { view, pathInView }: ViewPath): Promise<void> {
    const local = await this.files.read(image.reference);
    const isNew = local === undefined || local.view !== view || !local.pathInView.equals(pathInView);
    // Before the search for a published one, which may wait for the network: the container may be faster.
    if (isNew) void this.#record(image.reference, repository, { view, pathInView }).catch((error: unknown) => this.logger.debug('a start was not recorded', { image: image.reference, error: Failure.from(error) }));
    const profile = local ?? (await this.#published(image, repository));
    if (profile === undefined) return;
    await repository.replayStart(view, pathInView, profile.files);
    this.metrics.replayed.inc({ source: local === undefined ? 'published' : 'local' });
  }

  async #record(reference: string, repository: MountedRepository, { view, pathInView }: Pick<ViewPath, 'view' | 'pathInView'>): Promise<void> {
    if (this.#recording.has(reference) || this.#recording.size >= RECORDINGS_MAX) return;
    this.#recording.add(reference);
    try {
      const files = await repository.recordStart(view, pathInView, this.options.recordMs);
      // A container that read nothing says nothing, for instance one whose files the kernel still has.
      if (files === null || files.length === 0 || this.#stopped) return;
      // Read again: one may have been imported meanwhile.
      const earlier = await this.files.read(reference);
      await this.files.write(reference, { view, pathInView, recordedMs: this.nowMs(), files: mergedFiles(earlier?.files ?? [], files) });
      this.metrics.recorded.inc();
      this.logger.info('what a container reads first was recorded', { image: reference, files: files.length });
    } finally {
      this.#recording.delete(reference);
    }
  }

  async #published({ path, snapshot, reference }: ProfiledImage, repository: MountedRepository): Promise<StartProfile | undefined> {
    try {
      const bytes = await readPlainFile(repository, snapshot, profilePath(path), PROFILE_BYTES_MAX);
      return bytes === undefined ? undefined : parseProfile(bytes);
    } catch (error) {
      this.logger.warn('the start profile beside an image is not used', { image: reference, error: Failure.from(error) });
      return undefined;
    }
  }
}
