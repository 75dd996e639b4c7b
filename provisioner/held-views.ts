/**
 * Holds on views are kept by the file system server of a mount; whenever a repository is found mounted (the service has
 * started, the mount is a new one) it is told again what this service holds. All of it may be repeated.
 */
import { Failure } from '../src/error';
import type { MountedRepository } from '../src/repository/reader';
import { abortable, eachOf, within } from './abort';
import type { World } from './context';

const PARALLEL = 4;

/** Until `signal` is aborted. Rootfses of an earlier boot are left out: whether they come back is Recover's to say. */
export async function holdViewsAgain(world: World, repository: MountedRepository, signal: AbortSignal): Promise<void> {
  const { state, bootId, limits, logger } = world;
  const holds = [
    ...state.images().map((image) => ({ ...image, holder: image.holder })),
    ...state
      .all()
      .records.filter((record) => record.state.kind === 'mounted' && record.state.bootId === bootId)
      .map((record) => ({ ...record.image, holder: record.uuid })),
    ...state.isolated.uses().filter(({ view }) => view !== ''),
  ].filter((hold) => hold.repository === repository.fqrn);
  await eachOf(holds, PARALLEL, async ({ view, pathInView, holder }) => {
    if (signal.aborted) return;
    try {
      await within(abortable(repository.restoreView(view, pathInView), signal), limits.defaultDeadlineMs, `restoring a view of ${repository.fqrn}`);
      await within(repository.holdView(view, holder), limits.holdTimeoutMs, `holding a view of ${repository.fqrn}`);
    } catch (err) {
      if (!signal.aborted) logger.warn('a view could not be held again', { repository: repository.fqrn, view, err: Failure.from(err) });
    }
  });
}
