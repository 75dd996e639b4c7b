/**
 * What the agent's containers use, as the agent itself has written it down; nothing in it needs to be told by the agent.
 *
 *     <work_dir>/provisioner/containers/<id>[/containers/<child>…]/layers      ContainerLayers { paths = 1, config = 2 }
 *         the layers of the last image that was provisioned for the container, as paths in the docker store
 *     <runtime_dir>/containers/<id>[/containers/<child>…]/config               mesos.slave.ContainerConfig
 *         the images that a container was started with, by name; image volumes among them
 *     <docker_store_dir>/storedImages                                          Images { images = 1 { reference = 1, layer_ids = 2 } }
 *         which layers a name stands for
 *
 * All three are files of root's in directories of root's, but of another program in any version, possibly damaged: nothing is
 * followed, sizes, depth and number are limited, and what cannot be read is reported and makes the answer incomplete, so that
 * nothing is let go on its word.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../../src/error';
import { MAX_NESTING } from '../container-id';
import { LINK_NAME } from './docker-store';
import { checkpointMessage, fieldsOf, nestedFields } from './protobuf-reader';

const FILE_BYTES_MAX = 4 * 1024 * 1024;
const CONTAINERS_MAX = 20_000;
/** Problems that are told of one look; the number of all is what counts. */
const PROBLEMS_MAX = 20;

export interface AgentDirectories {
  /** `--work_dir`. */
  readonly workDir: string;
  /** `--runtime_dir`. */
  readonly runtimeDir: string;
  readonly dockerStoreDir: string;
}

export interface ContainerUse {
  /** `root/child`. */
  readonly container: string;
  /** Layer digest. */
  readonly digest: string;
  /** When the agent wrote it down. */
  readonly sinceMs: number;
}

export interface AgentUses {
  readonly uses: readonly ContainerUse[];
  /** Layers that the agent has in its index: it starts containers from them without a request. */
  readonly stored: ReadonlySet<string>;
  /** What could not be read, a sentence each; when there is any, there may be more uses. */
  readonly problems: readonly string[];
}

interface Found {
  readonly bytes: Buffer;
  readonly mtimeMs: number;
}

/** One file, never through a link, never more than `FILE_BYTES_MAX`; undefined when there is none. */
async function readFile(file: string): Promise<Found | undefined> {
  let handle: fs.promises.FileHandle;
  try {
    handle = await fs.promises.open(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch (err) {
    if (['ENOENT', 'ENOTDIR'].includes((err as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw err;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Failure('STATE_DAMAGED', 'it is not a file');
    if (stat.size > FILE_BYTES_MAX) throw new Failure('STATE_DAMAGED', `it has ${stat.size} bytes, and ${FILE_BYTES_MAX} are expected at most`);
    const bytes = Buffer.alloc(stat.size);
    const { bytesRead } = await handle.read(bytes, 0, stat.size, 0);
    return { bytes: bytes.subarray(0, bytesRead), mtimeMs: Math.floor(stat.mtimeMs) };
  } finally {
    await handle.close();
  }
}

async function isThere(file: string): Promise<boolean> {
  return fs.promises.lstat(file).then(
    () => true,
    () => false,
  );
}

class Problems {
  readonly list: string[] = [];
  #more = 0;

  add(file: string, err: unknown): void {
    if (this.list.length < PROBLEMS_MAX) this.list.push(`${file}: ${Failure.from(err).what}`);
    else this.#more++;
  }

  all(): string[] {
    return this.#more === 0 ? this.list : [...this.list, `${this.#more} more files of the agent cannot be read`];
  }
}

/** Calls `visit` with every container below `<root>/containers`, nested ones too. */
async function eachContainer(root: string, problems: Problems, visit: (dir: string, container: string) => Promise<void>): Promise<void> {
  let count = 0;
  const walk = async (parent: string, ids: readonly string[]): Promise<void> => {
    const dir = path.join(parent, 'containers');
    let entries: fs.Dirent[];
    try {
      entries = await fs.promises.readdir(dir, { withFileTypes: true });
    } catch (err) {
      if (!['ENOENT', 'ENOTDIR'].includes((err as NodeJS.ErrnoException).code ?? '')) problems.add(dir, err);
      return;
    }
    for (const entry of entries) {
      if (!entry.isDirectory()) continue;
      if (++count > CONTAINERS_MAX || ids.length >= MAX_NESTING) {
        problems.add(dir, new Failure('RESOURCE_EXHAUSTED', `more than ${CONTAINERS_MAX} containers, or nested more than ${MAX_NESTING} deep`));
        return;
      }
      const own = [...ids, entry.name];
      await visit(path.join(dir, entry.name), own.join('/'));
      await walk(path.join(dir, entry.name), own);
    }
  };
  await walk(root, []);
}

/** The layer behind a path in a docker store. */
function digestOf(layerPath: string): string | undefined {
  return path.basename(layerPath) === LINK_NAME ? path.basename(path.dirname(layerPath)) : undefined;
}

/** Names of docker images in a ContainerConfig: the container's own, its task's and executor's, and those of image volumes. */
function imageNames(config: Buffer): string[] {
  // ContainerConfig.container_info = 12, .task_info = 9 with container = 9, .executor_info = 8 with container = 11.
  const infos = [...fieldsOf(config, 12), ...nestedFields(config, 9, 9), ...nestedFields(config, 8, 11)];
  // ContainerInfo.mesos = 5 with image = 1; .volumes = 2 with image = 4; Image.docker = 3 with name = 1.
  const images = infos.flatMap((info) => [...nestedFields(info, 5, 1), ...nestedFields(info, 2, 4)]);
  return images.flatMap((image) => nestedFields(image, 3, 1)).map((name) => name.toString());
}

/** Layers by the text of the reference that they were pulled under. */
function storedImages(message: Buffer): Map<string, string[]> {
  const images = new Map<string, string[]>();
  for (const image of fieldsOf(message, 1)) {
    const text = (number: number): string | undefined => nestedFields(image, 1, number)[0]?.toString();
    const [registry, repository = '', tag, digest] = [text(1), text(2), text(3), text(4)];
    const name = `${registry === undefined ? '' : `${registry}/`}${repository}${digest !== undefined ? `@${digest}` : tag !== undefined ? `:${tag}` : ''}`;
    images.set(name, fieldsOf(image, 2).map((layer) => layer.toString()));
  }
  return images;
}

/** Looks once. Never throws: what cannot be read is among the problems. */
export async function readAgentUses({ workDir, runtimeDir, dockerStoreDir }: AgentDirectories): Promise<AgentUses> {
  const problems = new Problems();
  const message = async (file: string): Promise<(Found & { readonly message: Buffer }) | undefined> => {
    try {
      const found = await readFile(file);
      const body = found === undefined ? undefined : checkpointMessage(found.bytes);
      return found === undefined || body === undefined ? undefined : { ...found, message: body };
    } catch (err) {
      problems.add(file, err);
      return undefined;
    }
  };
  const parsed = <T>(file: string, parse: () => T, otherwise: T): T => {
    try {
      return parse();
    } catch (err) {
      problems.add(file, err);
      return otherwise;
    }
  };
  const indexFile = path.join(dockerStoreDir, 'storedImages');
  const index = await message(indexFile);
  const images = index === undefined ? new Map<string, string[]>() : parsed(indexFile, () => storedImages(index.message), new Map<string, string[]>());
  const uses = new Map<string, ContainerUse>();
  const use = (container: string, digest: string, sinceMs: number): void => {
    const key = `${container} ${digest}`;
    const known = uses.get(key);
    if (known === undefined || known.sinceMs > sinceMs) uses.set(key, { container, digest, sinceMs });
  };
  if (!(await isThere(workDir))) problems.add(workDir, new Failure('NOT_FOUND', 'there is no such directory, so it is not the agent’s --work_dir'));
  await eachContainer(path.join(workDir, 'provisioner'), problems, async (dir, container) => {
    const file = path.join(dir, 'layers');
    const found = await message(file);
    if (found === undefined) return;
    for (const layer of parsed(file, () => fieldsOf(found.message, 1), [])) {
      const digest = digestOf(layer.toString());
      if (digest !== undefined) use(container, digest, found.mtimeMs);
    }
  });
  await eachContainer(runtimeDir, problems, async (dir, container) => {
    // A nested container that has ended stays here until the outermost one ends.
    if (await isThere(path.join(dir, 'termination'))) return;
    const file = path.join(dir, 'config');
    const found = await message(file);
    if (found === undefined) return;
    for (const name of parsed(file, () => imageNames(found.message), [])) for (const digest of images.get(name) ?? []) use(container, digest, found.mtimeMs);
  });
  return { uses: [...uses.values()], stored: new Set([...images.values()].flat()), problems: problems.all() };
}
