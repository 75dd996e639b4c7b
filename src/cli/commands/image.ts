/** `mesos-cvmfs image inspect`, `prefetch` and `pin`. */
import { z } from 'zod';
import { Failure } from '../../error';
import { textToPath } from '../../image/path-text';
import { formatReference, parseReference } from '../../image/reference';
import type { Config } from '../../config/config';
import type { MountedClient } from '../../fuse/control/mounted-client';
import type { ViewPath } from '../../repository/reader';
import { ProfileFiles } from '../../../provisioner/profile-files';
import { configuration } from '../context';
import type { ImageJson } from '../messages';
import { figure, imageArgument, imageJson, imageRows, timeText } from '../messages';
import { MountedRepositories } from '../mounted-repositories';
import { print, size, table } from '../output';
import type { CommonOptions } from '../common-options';
import { resolveImage } from '../resolve-image';
import { findService, withService } from '../service-client';

/** As long as the service gives one. */
const FETCH_TIMEOUT_MS = 6 * 3_600_000;
const CALL_TIMEOUT_MS = 60_000;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

interface PinOptions extends CommonOptions {
  readonly list?: boolean;
  readonly remove?: boolean;
}

/** Does something with an image's directory in a pinned view. */
async function inView<T>(config: Config, image: ImageJson, work: (repository: MountedClient, view: ViewPath) => Promise<T>): Promise<T> {
  const repositories = await MountedRepositories.find(config);
  try {
    const repository = await repositories.open(image.repository);
    return await work(repository, await repository.makeView({ rootHash: image.root_hash, revision: image.revision }, textToPath(image.path)));
  } finally {
    repositories.close();
  }
}

export async function inspect(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const config = configuration(options);
  const found = await resolveImage(config, args[0] as string);
  const { objects, bytes, missing, missingBytes, ahead } = await inView(config, found.image, async (repository, { view, pathInView }) => ({
    ...(await repository.measure(view, pathInView)),
    ahead: fetchedAhead(await repository.raw('status'), `${view}:${pathInView.toString('latin1')}`),
  }));
  const profile = await new ProfileFiles(config.stateDir).read(found.image.reference).catch(() => undefined);
  const start_profile = profile === undefined ? null : { files: profile.files.length, recorded: new Date(profile.recordedMs).toISOString() };
  const cached = { objects, bytes, local_objects: objects - missing, local_bytes: bytes - missingBytes };
  const share = bytes === 0 ? 100 : Math.floor((100 * cached.local_bytes) / bytes);
  const rows = [
    ...imageRows(found.image),
    ['cached', `${cached.local_objects} of ${objects} objects, ${size(cached.local_bytes)} of ${size(bytes)} (${share} %)`],
    ...(ahead === null ? [] : [['fetched ahead', aheadText(ahead)]]),
    ['start profile', start_profile === null ? 'none on this host' : `${start_profile.files} files, recorded ${start_profile.recorded}`],
    ['configuration', found.config_source],
    ...configRows(found.docker_manifest),
    ...found.warnings.map((text) => ['warning', text]),
  ];
  print(options.json === true, { ...found, cached, fetched_ahead: ahead, start_profile }, table(rows));
}

const figures = z.object({ fetchedObjects: z.number(), fetchedBytes: z.number(), usedObjects: z.number(), usedBytes: z.number(), wastedObjects: z.number(), wastedBytes: z.number() });
const speculated = z.object({ speculation: z.object({ images: z.record(z.string(), figures) }).nullish() });

interface FetchedAhead {
  readonly objects: number;
  readonly bytes: number;
  readonly used_objects: number;
  readonly used_bytes: number;
  readonly wasted_objects: number;
  readonly wasted_bytes: number;
}

/** What the file system server fetched of this image before it was asked for; null where that is switched off. */
function fetchedAhead(status: unknown, label: string): FetchedAhead | null {
  const parsed = speculated.safeParse(status);
  if (!parsed.success || parsed.data.speculation === null || parsed.data.speculation === undefined) return null;
  const { fetchedObjects = 0, fetchedBytes = 0, usedObjects = 0, usedBytes = 0, wastedObjects = 0, wastedBytes = 0 } = parsed.data.speculation.images[label] ?? {};
  return { objects: fetchedObjects, bytes: fetchedBytes, used_objects: usedObjects, used_bytes: usedBytes, wasted_objects: wastedObjects, wasted_bytes: wastedBytes };
}

function aheadText({ objects, bytes, used_objects, used_bytes, wasted_objects, wasted_bytes }: FetchedAhead): string {
  return `${objects} objects, ${size(bytes)}; used ${used_objects}, ${size(used_bytes)}; wasted ${wasted_objects}, ${size(wasted_bytes)}`;
}

/** What of the configuration says how to run it. */
function configRows(manifest: object): string[][] {
  const { config } = manifest as { readonly config?: Readonly<Record<string, unknown>> };
  return ['Entrypoint', 'Cmd', 'Env', 'WorkingDir', 'User'].flatMap((name) => {
    const value = config?.[name];
    const absent = value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
    return absent ? [] : [[name, typeof value === 'string' ? value : JSON.stringify(value)]];
  });
}

export async function prefetch(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [text] = args as [string];
  const options = given as CommonOptions;
  const config = configuration(options);
  const request = { image: imageArgument(text) };
  const service = await findService(config);
  if (service !== null) {
    try {
      const { image, objects, bytes } = await service.admin.Prefetch(request, { timeoutMs: FETCH_TIMEOUT_MS });
      return printFetched(options, imageJson(image), figure(objects), figure(bytes), 'local');
    } finally {
      service.close();
    }
  }
  const { image } = await resolveImage(config, text);
  const { objects, bytes } = await inView(config, image, (repository, { view, pathInView }) => repository.prefetch(view, pathInView));
  printFetched(options, image, objects, bytes, 'local');
}

function printFetched(options: CommonOptions, image: ImageJson, objects: number, bytes: number, what: 'local' | 'pinned'): void {
  print(options.json === true, { image, objects, bytes }, `${image.reference}: ${objects} objects, ${size(bytes)} are ${what}`);
}

export async function pin(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [text] = args as [string | undefined];
  const options = given as PinOptions;
  const config = configuration(options);
  if (options.list === true) {
    if (text !== undefined || options.remove === true) throw new Failure('INVALID_ARGUMENT', 'image pin --list takes neither an image nor --remove', { next: 'give --list alone' });
    return list(config, options);
  }
  if (text === undefined) throw new Failure('INVALID_ARGUMENT', 'image pin: no image is named', { next: 'name one, or give --list' });
  if (options.remove === true) return remove(config, options, text);
  const request = { image: imageArgument(text) };
  const { image, objects, bytes } = await withService(config, ({ admin }) => admin.Pin(request, { timeoutMs: FETCH_TIMEOUT_MS }));
  printFetched(options, imageJson(image), figure(objects), figure(bytes), 'pinned');
}

async function list(config: Config, options: CommonOptions): Promise<void> {
  const { pinned } = await withService(config, ({ admin }) => admin.Ps({}, { timeoutMs: CALL_TIMEOUT_MS }));
  const images = pinned.map(({ image, pinned_ms: at }) => ({ image: imageJson(image), pinned: timeText(at) }));
  print(options.json === true, { pinned: images }, images.length === 0 ? 'nothing is pinned' : table(images.map(({ image, pinned: at }) => [image.reference, image.digest, at])));
}

async function remove(config: Config, options: CommonOptions, text: string): Promise<void> {
  const reference = DIGEST.test(text) ? null : formatReference(parseReference(text));
  const digests = await withService(config, async ({ admin }) => {
    const call = { timeoutMs: CALL_TIMEOUT_MS };
    const { pinned } = await admin.Ps({}, call);
    const known = reference === null ? [text] : [...new Set(pinned.flatMap(({ image }) => (image?.reference === reference && image.digest !== undefined ? [image.digest] : [])))];
    const removed: string[] = [];
    for (const digest of known) if ((await admin.Unpin({ digest }, call)).unpinned === true) removed.push(digest);
    return removed;
  });
  if (digests.length === 0) throw new Failure('NOT_FOUND', `${reference ?? text} is not pinned`, { next: 'mesos-cvmfs image pin --list shows what is' });
  print(options.json === true, { removed: digests }, digests.map((digest) => `${digest} is not pinned any more\n`).join(''));
}
