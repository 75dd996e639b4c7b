/** A mounted repository as its users see it: the client of its file system server's control socket. */
import { z } from 'zod';
import { Failure } from '../../error';
import type { EntryType, MountedRepository, Snapshot, ViewPath, WalkedEntry, WalkOptions } from '../../repository/reader';
import type { MountInfo } from '../keeper/keeper';
import { controlPath } from '../keeper/server-process';
import { CONTENT_BYTES_MAX, LIST_ENTRIES_MAX } from '../server/control-methods';
import { ControlClient } from './control-client';

/** Resolving may wait for catalogs from far away; the server itself ends each wait after its own deadline. */
const RESOLVE_TIMEOUT_MS = 300_000;
const PREFETCH_TIMEOUT_MS = 24 * 3_600_000;
/** A server that was killed is replaced within this; calls that change nothing are repeated until then. */
const REPLACED_WITHIN_MS = 10_000;
const REPEAT_MS = 20;

const TYPES = ['directory', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device'] as const satisfies readonly EntryType[];
const shapes = {
  snapshot: z.object({ rootHash: z.string(), revision: z.number() }),
  entry: z.object({
    path: z.string(),
    type: z.enum(TYPES),
    mode: z.number(),
    uid: z.number(),
    gid: z.number(),
    size: z.number(),
    mtime: z.number(),
    target: z.string().optional(),
    catalog: z.object({ hash: z.string(), path: z.string() }),
  }),
  list: z.object({ entries: z.array(z.object({ name: z.string(), type: z.enum(TYPES) })) }),
  file: z.object({ content: z.string() }),
  view: z.object({ view: z.string(), pathInView: z.string(), pathInMount: z.string() }),
  prefetch: z.object({ objects: z.number(), bytes: z.number(), fetched: z.number() }),
  measure: z.object({ objects: z.number(), bytes: z.number(), missing: z.number(), missingBytes: z.number() }),
  freed: z.object({ freedBytes: z.number() }),
};

const bytes = (text: string): Buffer => Buffer.from(text, 'base64');

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
    return shapes.snapshot.parse(await this.#call('snapshot', {}));
  }

  /** Asks the servers for a newer revision now, whatever the time to live. */
  async look(): Promise<Snapshot> {
    return shapes.snapshot.parse(await this.#call('look', {}));
  }

  async walk(snapshot: Snapshot, path: Buffer, options: WalkOptions = {}): Promise<WalkedEntry> {
    const { target, ...entry } = shapes.entry.parse(await this.#call('walk', { ...at(snapshot), path: path.toString('base64'), followLast: options.followLast ?? true }));
    return { ...entry, path: bytes(entry.path), catalog: { hash: entry.catalog.hash, path: bytes(entry.catalog.path) }, ...(target === undefined ? {} : { target: bytes(target) }) };
  }

  async list(snapshot: Snapshot, path: Buffer, maxEntries: number): Promise<Array<{ name: Buffer; type: EntryType }>> {
    const { entries } = shapes.list.parse(await this.#call('list', { ...at(snapshot), path: path.toString('base64'), maxEntries: Math.min(maxEntries, LIST_ENTRIES_MAX) }));
    return entries.map(({ name, type }) => ({ name: bytes(name), type }));
  }

  async readFile(snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer> {
    return bytes(shapes.file.parse(await this.#call('readFile', { ...at(snapshot), path: path.toString('base64'), maxBytes: Math.min(maxBytes, CONTENT_BYTES_MAX) })).content);
  }

  async makeView(snapshot: Snapshot, path: Buffer): Promise<ViewPath> {
    return viewPath(await this.#call('makeView', { ...at(snapshot), path: path.toString('base64') }));
  }

  async restoreView(view: string, pathInView: Buffer): Promise<ViewPath> {
    return viewPath(await this.#call('restoreView', { view, pathInView: pathInView.toString('base64') }));
  }

  async holdView(view: string, holder: string): Promise<void> {
    await this.#call('holdView', { view, holder });
  }

  async releaseView(view: string, holder: string): Promise<void> {
    await this.#call('releaseView', { view, holder });
  }

  async prefetch(view: string, pathInView: Buffer, options: { pin?: string } = {}): Promise<{ objects: number; bytes: number; fetched: number }> {
    return shapes.prefetch.parse(await this.#call('prefetch', { view, pathInView: pathInView.toString('base64'), pin: options.pin ?? null }, PREFETCH_TIMEOUT_MS));
  }

  /** Objects and plain bytes below the directory, and how many of them are not local. Fetches catalogs, nothing else. */
  async measure(view: string, pathInView: Buffer): Promise<{ objects: number; bytes: number; missing: number; missingBytes: number }> {
    return shapes.measure.parse(await this.#call('measure', { view, pathInView: pathInView.toString('base64') }));
  }

  /** Drops from the cache what is neither pinned nor used by containers; answers the bytes freed. */
  async prune(timeoutMs: number): Promise<number> {
    return shapes.freed.parse(await this.#call('cachePrune', {}, timeoutMs)).freedBytes;
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

  async #call(method: string, params: object, timeoutMs: number = RESOLVE_TIMEOUT_MS): Promise<unknown> {
    const giveUpAt = Date.now() + REPLACED_WITHIN_MS;
    for (;;) {
      try {
        this.#control ??= await ControlClient.connect(controlPath(this.info.dir), `file system server of ${this.fqrn}`);
        return await this.#control.call(method, params, timeoutMs);
      } catch (error) {
        const failure = Failure.from(error);
        const lost = this.#control === null || failure.message.includes('ended the connection') || failure.message.includes('has gone');
        if (failure.code !== 'NETWORK' || !lost || Date.now() > giveUpAt) throw failure;
        this.close();
        await new Promise((resolve) => setTimeout(resolve, REPEAT_MS));
      }
    }
  }
}

function at({ rootHash, revision }: Snapshot): Snapshot {
  return { rootHash, revision };
}

function viewPath(value: unknown): ViewPath {
  const { view, pathInView, pathInMount } = shapes.view.parse(value);
  return { view, pathInView: bytes(pathInView), pathInMount: bytes(pathInMount) };
}
