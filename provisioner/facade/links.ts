/**
 * The links of the facade: from a resolved image to a link that an agent can mount, and back. What is in the database, in
 * the store and held in the views of file system servers is kept together here and nowhere else.
 *
 * The order is that of Provision: the row, then the hold on the view, then the link. So what a crash leaves is a row
 * without a link, which upkeep forgets, and never a link that nobody knows.
 */
import { Failure } from '../../src/error';
import type { Logger } from '../../src/log/logger';
import type { MountedRepository, ViewPath } from '../../src/repository/reader';
import { within } from '../abort';
import type { World } from '../context';
import type { FoundImage } from '../images';
import type { FacadeLink } from '../state/facade-links';
import { IMAGE_HOLDER } from '../state/state';
import type { DockerStore } from './docker-store';
import { configObject, sha256Digest } from './image-answer';
import type { FacadeMetrics, Removal } from './metrics';
import { KeyedLock, PerHour } from './rate';

export interface LinksOptions {
  readonly mountRoot: string;
  readonly maxLinksPerHour: number;
  readonly maxViews: number;
}

export type LinksWorld = Pick<World, 'state' | 'mounts' | 'helpers' | 'limits' | 'nowMs' | 'newUuid' | 'step'> & { readonly logger: Logger };

const VIEWS = Buffer.from('/.cvmfs-view/');

export class Links {
  readonly #links = new Map<string, FacadeLink>();
  /** Configuration objects by their digest, with how many links have them. */
  readonly #configs = new Map<string, { readonly bytes: Buffer; links: number }>();
  /** On which mount each view is held: a new mount knows nothing of the holds on the old one. */
  readonly #held = new Map<string, MountedRepository>();
  /** Views of links, and those made since the start: a mount never forgets one. */
  readonly #views = new Set<string>();
  readonly #told = new Map<string, number>();
  readonly #lock = new KeyedLock();
  readonly #rate: PerHour;

  constructor(
    private readonly world: LinksWorld,
    readonly store: DockerStore,
    private readonly options: LinksOptions,
    private readonly metrics: Pick<FacadeMetrics, 'linksMade' | 'linksRepaired' | 'linksRemoved'>,
  ) {
    this.#rate = new PerHour(options.maxLinksPerHour, world.nowMs);
    for (const link of world.state.facadeLinks.all((failure) => world.logger.warn('a record of the facade is passed over', { err: failure }))) this.#remember(link);
  }

  all(): FacadeLink[] {
    return [...this.#links.values()];
  }

  get(digest: string): FacadeLink | undefined {
    return this.#links.get(digest);
  }

  /** A configuration object of some link. */
  config(digest: string): Buffer | undefined {
    return this.#configs.get(digest)?.bytes;
  }

  /** Whether a link leads into a view of a repository at our mount root: then it is ours, whoever remembers it. */
  isOurs(target: Buffer): boolean {
    const root = Buffer.from(this.options.mountRoot === '/' ? '/' : `${this.options.mountRoot}/`);
    if (!target.subarray(0, root.length).equals(root)) return false;
    const slash = target.indexOf('/', root.length);
    return slash > root.length && target.subarray(slash, slash + VIEWS.length).equals(VIEWS) && !/(^|\/)\.\.?(\/|$)/.test(target.toString('latin1'));
  }

  /** When the agent was last told of the link; 0: not since the start. */
  toldMs(digest: string): number {
    return this.#told.get(digest) ?? 0;
  }

  /** Makes sure that the agent finds the image under its digest: the link, checked, and below it a directory that answers. */
  async provide(found: FoundImage, repository: MountedRepository, view: ViewPath): Promise<FacadeLink> {
    const { step, nowMs } = this.world;
    step('facade-view-made');
    return this.#lock.run(found.digest, async () => {
      const known = this.#links.get(found.digest);
      const link = known !== undefined && known.view === view.view && known.pathInView.equals(view.pathInView) ? known : await this.#record(found, view);
      step('facade-recorded');
      await this.#hold(link, repository);
      step('facade-view-held');
      await this.#reach(repository, view);
      this.#place(link, this.target(repository, view));
      step('facade-linked');
      this.#told.set(link.digest, nowMs());
      return link;
    });
  }

  /** The same for a link that is known, when its repository was mounted or the service started: it may need the network. */
  async restore(link: FacadeLink, repository: MountedRepository, timeoutMs: number): Promise<void> {
    await this.#lock.run(link.digest, async () => {
      if (this.#links.get(link.digest) !== link) return;
      const view = await within(repository.restoreView(link.view, link.pathInView), timeoutMs, `restoring a view of ${link.repository}`);
      await this.#hold(link, repository);
      await this.#reach(repository, view);
      const state = this.store.look(link.digest);
      if (state.kind === 'link') this.#place(link, this.target(repository, view));
    });
  }

  /**
   * Looks at the link of a record. What the agent has taken away is forgotten, unless containers use it; a link that leads
   * elsewhere in our views, or to where its repository was mounted once, is mended; what is not ours is left as it is, and
   * forgotten. Touches no mount.
   */
  verify(link: FacadeLink, inUse: boolean): Promise<void> {
    return this.#lock.run(link.digest, async () => {
      if (this.#links.get(link.digest) !== link) return;
      const state = this.store.look(link.digest);
      const target = this.#expectedTarget(link);
      if (state.kind === 'no-directory' || state.kind === 'no-link') {
        // Containers go on without the link, and their view stays held as long as they do.
        if (!inUse) {
          this.store.remove(link.digest, () => false);
          this.#forget(link, 'pruned');
        } else if (state.kind === 'no-link') this.#place(link, target);
        return;
      }
      if (state.kind === 'foreign' || (state.kind === 'link' && !this.#isOf(link, state.target))) {
        this.world.logger.warn('something else is in the place of a facade link, which is forgotten', { layer: link.digest, image: link.reference });
        return this.#forget(link, 'foreign');
      }
      if (state.kind === 'link' && !state.target.equals(target)) this.#place(link, target);
    });
  }

  /** Takes a link away, so that the agent asks again; running containers keep what they have. */
  withdraw(link: FacadeLink, why: Removal): Promise<void> {
    return this.#lock.run(link.digest, async () => {
      if (this.#links.get(link.digest) !== link) return;
      this.store.remove(link.digest, (target) => this.#isOf(link, target));
      this.world.step('facade-link-removed');
      this.#forget(link, why);
    });
  }

  /** Takes away a link of ours that no record speaks of. */
  withdrawUnknown(digest: string): Promise<void> {
    return this.#lock.run(digest, async () => {
      if (this.#links.has(digest)) return;
      if (this.store.remove(digest, (target) => this.isOurs(target))) this.metrics.linksRemoved.inc({ reason: 'unknown' });
    });
  }

  target(repository: MountedRepository, view: ViewPath): Buffer {
    return Buffer.concat([Buffer.from(`${repository.mountpoint}/`), view.pathInMount]);
  }

  /** Whether a target is one that this program gave the link, under another `mount_root` too. */
  #isOf(link: FacadeLink, target: Buffer): boolean {
    const end = Buffer.concat([Buffer.from(`/${link.repository}`), this.#tail(link)]);
    return this.isOurs(target) || (target[0] === 0x2f && target.subarray(-end.length).equals(end));
  }

  #tail(link: FacadeLink): Buffer {
    const below = link.pathInView.equals(Buffer.from('/')) ? Buffer.alloc(0) : link.pathInView;
    return Buffer.concat([VIEWS, Buffer.from(link.view), below]);
  }

  #expectedTarget(link: FacadeLink): Buffer {
    const mountpoint = this.world.mounts.list().find(({ repository }) => repository === link.repository)?.mountpoint ?? `${this.options.mountRoot}/${link.repository}`;
    return Buffer.concat([Buffer.from(mountpoint), this.#tail(link)]);
  }

  async #record(found: FoundImage, view: ViewPath): Promise<FacadeLink> {
    const { state, nowMs, newUuid } = this.world;
    const { reference, repository, path, snapshot, digest } = found;
    const key = `${repository} ${view.view}`;
    if (!this.#views.has(key) && this.#views.size >= this.options.maxViews) {
      throw new Failure('RESOURCE_EXHAUSTED', `the facade has made ${this.#views.size} views already`, { next: 'prune images, or raise facade.max_views' });
    }
    if (this.#links.size >= this.options.maxViews) {
      throw new Failure('RESOURCE_EXHAUSTED', `${this.#links.size} images are linked in the docker store already`, { next: 'have the agent prune its images, or raise facade.max_views' });
    }
    this.#rate.take('links were made');
    const link: FacadeLink = {
      reference,
      repository,
      path,
      view: view.view,
      pathInView: view.pathInView,
      rootHash: snapshot.rootHash,
      revision: snapshot.revision,
      digest,
      holder: `${IMAGE_HOLDER}${newUuid()}`,
      config: configObject(found.manifest, digest),
      madeMs: nowMs(),
    };
    const known = this.#links.get(digest);
    await state.together(() => {
      if (known !== undefined) state.removeFacadeLink(known);
      state.facadeLinks.put(link);
    });
    if (known !== undefined) this.#drop(known);
    this.#remember(link);
    return link;
  }

  async #hold(link: FacadeLink, repository: MountedRepository): Promise<void> {
    if (this.#held.get(link.digest) === repository) return;
    await within(repository.holdView(link.view, link.holder), this.world.limits.holdTimeoutMs, `holding a view of ${link.repository}`);
    this.#held.set(link.digest, repository);
  }

  /** Looked at from a helper, as the agent will: the directory is there, without a link on the way, on this mount. */
  async #reach(repository: MountedRepository, { pathInMount }: ViewPath): Promise<void> {
    const { helpers, limits } = this.world;
    await helpers.run({ kind: 'reach', target: repository.mountpoint, source: { mountpoint: repository.mountpoint, device: repository.device, pathInMount } }, limits.lookTimeoutMs);
  }

  #place(link: FacadeLink, target: Buffer): void {
    const done = this.store.ensure(link.digest, target, (there) => this.#isOf(link, there));
    if (done === 'there') return;
    (done === 'made' ? this.metrics.linksMade : this.metrics.linksRepaired).inc();
    this.world.logger.info(done === 'made' ? 'an image was linked into the docker store' : 'a link in the docker store was mended', { image: link.reference, layer: link.digest, target: target.toString() });
  }

  #forget(link: FacadeLink, why: Removal): void {
    this.world.state.removeFacadeLink(link);
    this.world.step('facade-forgotten');
    this.#drop(link);
    this.metrics.linksRemoved.inc({ reason: why });
    this.world.logger.info('an image is not linked in the docker store any more', { image: link.reference, layer: link.digest, why });
  }

  #remember(link: FacadeLink): void {
    this.#links.set(link.digest, link);
    this.#views.add(`${link.repository} ${link.view}`);
    const digest = sha256Digest(link.config);
    const config = this.#configs.get(digest);
    if (config === undefined) this.#configs.set(digest, { bytes: link.config, links: 1 });
    else config.links++;
  }

  #drop(link: FacadeLink): void {
    this.#links.delete(link.digest);
    this.#held.delete(link.digest);
    this.#told.delete(link.digest);
    const digest = sha256Digest(link.config);
    const config = this.#configs.get(digest);
    if (config !== undefined && --config.links === 0) this.#configs.delete(digest);
  }
}
