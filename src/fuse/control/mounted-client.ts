/** A mounted repository as its users see it: the client of its file system server's control socket. */
import { z } from 'zod';
import { Failure } from '../../error';
import type { EntryType, MountedRepository, PrefetchOrder, Snapshot, ViewPath, WalkOptions, WalkedEntry } from '../../repository/reader';
import { fromWireFiles, toWireFiles, wireFilesShape } from '../../repository/start-profile';
import type { ProfiledFile } from '../../repository/start-profile';
import { VIEWS_NAME } from '../../repository/node-id';
import type { MountInfo } from '../keeper/keeper';
import { controlPath } from './control-path';
import { CONTENT_BYTES_MAX, LIST_ENTRIES_MAX } from '../server/control-methods';
import { ControlClient } from './control-client';

/** Resolving may wait for catalogs from far away; the server itself ends each wait after its own deadline. */
const RESOLVE_TIMEOUT_MS = 300_000;
/** A recording that was cut off is not begun again: it would lack the beginning. */
const RECORD_LATE_MS = 10_000;
const PREFETCH_TIMEOUT_MS = 24 * 3_600_000;
/** A server that was killed is replaced within this; calls that change nothing are repeated until then. */
const REPLACED_WITHIN_MS = 10_000;
const REPEAT_MS = 20;

const TYPES = ['directory', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device'] as const satisfies readonly EntryType[];
/** What a server answers is checked like any stranger's word: it parses what publishers wrote, and root mounts what it names. */
const base64 = z.base64();
const hash = z.string().regex(/^[0-9a-f]{40}(-rmd160|-shake128)?$/);
const count = z.number().int().min(0);
const shapes = {
  snapshot: z.object({ rootHash: hash, revision: count }),
  entry: z.object({
    path: base64,
    type: z.enum(TYPES),
    mode: count,
    uid: count,
    gid: count,
    size: count,
    mtime: z.number(),
    target: base64.optional(),
    catalog: z.object({ hash, path: base64 }),
  }),
  list: z.object({ entries: z.array(z.object({ name: base64, type: z.enum(TYPES) })).max(LIST_ENTRIES_MAX + 1) }),
  file: z.object({ content: base64 }),
  view: z.object({ view: hash, pathInView: base64, pathInMount: base64 }),
  prefetch: z.object({ objects: count, bytes: count, fetched: count }),
  measure: z.object({ objects: count, bytes: count, missing: count, missingBytes: count }),
  recorded: z.object({ files: wireFilesShape.nullable() }),
  freed: z.object({ freedBytes: count }),
};

const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
const SLASH = Buffer.from('/');

/** Absolute, without empty steps, `.`, `..` or NUL. */
function isPlainPath(path: Buffer): boolean {
  return path.equals(SLASH) || (path.length < 4096 && !path.includes(0) && path.toString('latin1').split('/').every((step, i) => (i === 0 ? step === '' : step !== '' && step !== '.' && step !== '..')));
}

/** Every call is one that may be made twice: a server that dies in the middle is replaced, and the call is repeated. */
export class MountedClient implements MountedRepository {
  readonly fqrn: string;
  readonly mountpoint: string;
  readonly device: string;
  readonly info: MountInfo;
  #control: ControlClient | null = null;

  constructor(info: MountInfo) {
    this.info = info;
    this.fqrn = info.repository;
    this.mountpoint = info.mountpoint;
    this.device = info.device;
  }

  async snapshot(): Promise<Snapshot> {
    return this.#parsed(shapes.snapshot, 'snapshot', await this.#call('snapshot', {}));
  }

  /** Asks the servers for a newer revision now, whatever the time to live. */
  async look(): Promise<Snapshot> {
    return this.#parsed(shapes.snapshot, 'snapshot', await this.#call('look', {}));
  }

  async walk(snapshot: Snapshot, path: Buffer, options: WalkOptions = {}): Promise<WalkedEntry> {
    const { target, ...entry } = this.#parsed(shapes.entry, 'entry', await this.#call('walk', { ...at(snapshot), path: path.toString('base64'), followLast: options.followLast ?? true }));
    return { ...entry, path: bytes(entry.path), catalog: { hash: entry.catalog.hash, path: bytes(entry.catalog.path) }, ...(target === undefined ? {} : { target: bytes(target) }) };
  }

  async list(snapshot: Snapshot, path: Buffer, maxEntries: number): Promise<Array<{ name: Buffer; type: EntryType }>> {
    const { entries } = this.#parsed(shapes.list, 'list', await this.#call('list', { ...at(snapshot), path: path.toString('base64'), maxEntries: Math.min(maxEntries, LIST_ENTRIES_MAX) }));
    return entries.map(({ name, type }) => ({ name: bytes(name), type }));
  }

  async readFile(snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer> {
    return bytes(this.#parsed(shapes.file, 'file', await this.#call('readFile', { ...at(snapshot), path: path.toString('base64'), maxBytes: Math.min(maxBytes, CONTENT_BYTES_MAX) })).content);
  }

  async makeView(snapshot: Snapshot, path: Buffer): Promise<ViewPath> {
    const view = this.#viewPath(await this.#call('makeView', { ...at(snapshot), path: path.toString('base64') }));
    if (!view.pathInView.equals(SLASH) && !path.subarray(-view.pathInView.length).equals(view.pathInView)) throw this.#absurd('makeView', 'another directory than was asked for');
    return view;
  }

  async restoreView(view: string, pathInView: Buffer): Promise<ViewPath> {
    const made = this.#viewPath(await this.#call('restoreView', { view, pathInView: pathInView.toString('base64') }));
    if (made.view !== view || !made.pathInView.equals(pathInView)) throw this.#absurd('restoreView', 'another view than was asked for');
    return made;
  }

  async holdView(view: string, holder: string): Promise<void> {
    await this.#call('holdView', { view, holder });
  }

  async releaseView(view: string, holder: string): Promise<void> {
    await this.#call('releaseView', { view, holder });
  }

  async prefetch(view: string, pathInView: Buffer, { pin, ...options }: PrefetchOrder = {}): Promise<{ objects: number; bytes: number; fetched: number }> {
    return this.#parsed(shapes.prefetch, 'prefetch', await this.#call('prefetch', { view, pathInView: pathInView.toString('base64'), pin: pin ?? null, ...options }, PREFETCH_TIMEOUT_MS));
  }

  /** Objects and plain bytes below the directory, and how many of them are not local. Fetches catalogs, nothing else. */
  async measure(view: string, pathInView: Buffer): Promise<{ objects: number; bytes: number; missing: number; missingBytes: number }> {
    return this.#parsed(shapes.measure, 'measure', await this.#call('measure', { view, pathInView: pathInView.toString('base64') }));
  }

  async recordStart(view: string, pathInView: Buffer, forMs: number): Promise<ProfiledFile[] | null> {
    const { files } = this.#parsed(shapes.recorded, 'recordStart', await this.#call('recordStart', { view, pathInView: pathInView.toString('base64'), forMs }, forMs + RECORD_LATE_MS, 'once'));
    return files === null ? null : fromWireFiles(files);
  }

  async replayStart(view: string, pathInView: Buffer, files: readonly ProfiledFile[]): Promise<void> {
    await this.#call('replayStart', { view, pathInView: pathInView.toString('base64'), files: toWireFiles(files) });
  }

  /** Drops from the cache what is neither pinned nor used by containers; answers the bytes freed. */
  async prune(timeoutMs: number): Promise<number> {
    return this.#parsed(shapes.freed, 'freed', await this.#call('cachePrune', {}, timeoutMs)).freedBytes;
  }

  /** Forgets what `prefetch` pinned under this name. */
  async unpin(pin: string): Promise<void> {
    await this.#call('unpin', { pin });
  }

  /** The server's status, or one of its cache methods, as it came: for showing, not for deciding. */
  async raw(method: 'status' | 'cacheUsage' | 'cacheCheck' | 'cacheWipe', params: object = {}, timeoutMs?: number): Promise<unknown> {
    return this.#call(method, params, timeoutMs);
  }

  close(): void {
    this.#control?.close();
    this.#control = null;
  }

  /** A view's directory as it is mounted later: below the folder of views, without a step that leads out of it. */
  #viewPath(value: unknown): ViewPath {
    const answer = this.#parsed(shapes.view, 'a view', value);
    const [pathInView, pathInMount] = [bytes(answer.pathInView), bytes(answer.pathInMount)];
    const below = pathInView.equals(SLASH) ? Buffer.alloc(0) : pathInView;
    const expected = Buffer.concat([VIEWS_NAME, SLASH, Buffer.from(answer.view), below]);
    if (!isPlainPath(pathInView) || !pathInMount.equals(expected)) throw this.#absurd('a view', 'a path outside of it');
    return { view: answer.view, pathInView, pathInMount };
  }

  #parsed<T>(shape: z.ZodType<T>, what: string, value: unknown): T {
    const parsed = shape.safeParse(value);
    if (parsed.success) return parsed.data;
    throw this.#absurd(what, `field ${parsed.error.issues[0]!.path.join('.')}: ${parsed.error.issues[0]!.message}`);
  }

  #absurd(asked: string, why: string): Failure {
    return new Failure('INTERNAL', `the file system server of ${this.fqrn} gave an absurd answer to ${asked}: ${why}`, { next: 'see its log, and whether somebody has taken it over' });
  }

  async #call(method: string, params: object, timeoutMs: number = RESOLVE_TIMEOUT_MS, times: 'once' | 'until answered' = 'until answered'): Promise<unknown> {
    const giveUpAt = Date.now() + REPLACED_WITHIN_MS;
    for (;;) {
      try {
        this.#control ??= await ControlClient.connect(controlPath(this.info.dir), `file system server of ${this.fqrn}`);
        return await this.#control.call(method, params, timeoutMs);
      } catch (error) {
        const failure = Failure.from(error);
        const lost = this.#control === null || failure.message.includes('ended the connection') || failure.message.includes('has gone');
        if (times === 'once' || failure.code !== 'NETWORK' || !lost || Date.now() > giveUpAt) throw failure;
        this.close();
        await new Promise((resolve) => setTimeout(resolve, REPEAT_MS));
      }
    }
  }
}

function at({ rootHash, revision }: Snapshot): Snapshot {
  return { rootHash, revision };
}
