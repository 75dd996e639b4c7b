/**
 * The methods of a file system server's control socket, with their wire shapes. `MountedClient` is the other end.
 *
 *     ping     {}                              status {}
 *     snapshot {}                              look {}                       → {rootHash, revision}
 *     walk     {rootHash, revision, path, followLast}                        → entry
 *     list     {rootHash, revision, path, maxEntries}                        → {entries}
 *     readFile {rootHash, revision, path, maxBytes}                          → {content}
 *     makeView {rootHash, revision, path}      restoreView {view, pathInView} → view path
 *     holdView {view, holder}                  releaseView {view, holder}
 *     backing  {opened}                        → {open, close}                (backing-requests.ts)
 *     prefetch {view, pathInView, pin, bytesPerSecond, mustFit}              unpin {pin}
 *     measure  {view, pathInView}                                            → {objects, bytes, missing, missingBytes}
 *     recordStart {view, pathInView, forMs}    → {files} or {files: null}    replayStart {view, pathInView, files}
 *     cacheUsage {}                            cacheCheck {repair}            cacheWipe {force}    cachePrune {}
 *
 * Paths and contents are base64, since they are bytes.
 */
import { z } from 'zod';
import { Failure } from '../../error';
import type { ObjectCache } from '../../cache/object-cache';
import type { Snapshot, ViewPath, WalkedEntry } from '../../repository/reader';
import { fromWireFiles, toWireFiles, wireFilesShape } from '../../repository/start-profile';
import type { Method } from '../control/control-server';
import type { FileSystemServer } from './file-system-server';

/** Base64 makes four characters of three bytes, and the line that carries it is limited to 8 MiB. */
export const CONTENT_BYTES_MAX = 4 * 1024 * 1024;
export const LIST_ENTRIES_MAX = 20_000;

const base64 = z.string().max(6 * 1024 * 1024).regex(/^[A-Za-z0-9+/]*={0,2}$/);
const hash = z.string().regex(/^[0-9a-f]{40}(-rmd160|-shake128)?$/);
const snapshot = { rootHash: hash, revision: z.number().int().min(0) };
const holder = z.string().min(1).max(128);
const pin = z.string().regex(/^image\/[\x21-\x7e]{1,512}$/);

const shapes = {
  none: z.strictObject({}),
  walk: z.strictObject({ ...snapshot, path: base64, followLast: z.boolean() }),
  list: z.strictObject({ ...snapshot, path: base64, maxEntries: z.number().int().min(1).max(LIST_ENTRIES_MAX) }),
  readFile: z.strictObject({ ...snapshot, path: base64, maxBytes: z.number().int().min(0).max(CONTENT_BYTES_MAX) }),
  makeView: z.strictObject({ ...snapshot, path: base64 }),
  restoreView: z.strictObject({ view: hash, pathInView: base64 }),
  hold: z.strictObject({ view: hash, holder }),
  prefetch: z.strictObject({ view: hash, pathInView: base64, pin: pin.nullable(), bytesPerSecond: z.number().min(0).default(0), mustFit: z.boolean().default(false) }),
  unpin: z.strictObject({ pin }),
  recordStart: z.strictObject({ view: hash, pathInView: base64, forMs: z.number().int().min(1).max(3_600_000) }),
  replayStart: z.strictObject({ view: hash, pathInView: base64, files: wireFilesShape }),
  check: z.strictObject({ repair: z.boolean() }),
  wipe: z.strictObject({ force: z.boolean() }),
};

function checked<T>(shape: z.ZodType<T>, params: unknown): T {
  const parsed = shape.safeParse(params);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new Failure('INVALID_ARGUMENT', `file system server request, field ${issue.path.join('.')}: ${issue.message}`);
}

const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
const at = ({ rootHash, revision }: Snapshot): Snapshot => ({ rootHash, revision });

/** A walked entry on the wire. */
export interface WireEntry extends Omit<WalkedEntry, 'path' | 'target' | 'catalog'> {
  readonly path: string;
  readonly target?: string;
  readonly catalog: { readonly hash: string; readonly path: string };
}

function wireEntry(entry: WalkedEntry): WireEntry {
  const { target, ...rest } = entry;
  return {
    ...rest,
    path: entry.path.toString('base64'),
    catalog: { hash: entry.catalog.hash, path: entry.catalog.path.toString('base64') },
    ...(target === undefined ? {} : { target: target.toString('base64') }),
  };
}

function wireView(view: ViewPath): { view: string; pathInView: string; pathInMount: string } {
  return { view: view.view, pathInView: view.pathInView.toString('base64'), pathInMount: view.pathInMount.toString('base64') };
}

export function controlMethods(server: FileSystemServer, cache: ObjectCache): Record<string, Method> {
  const { live, walker, views, prefetch } = server;
  const shown = (view: ViewPath): ReturnType<typeof wireView> => {
    server.speculation?.noteRoot(view.view, view.pathInView);
    return wireView(view);
  };
  const snapshotNow = (): Snapshot => ({ rootHash: server.rootHash(), revision: live.current.revision });
  return {
    ping: () => server.progress(),
    backing: (params) => server.backing.exchange(params),
    status: () => server.status(),
    snapshot: snapshotNow,
    look: async () => {
      if (!live.isFixed) await live.look();
      return snapshotNow();
    },
    walk: async (params) => {
      const asked = checked(shapes.walk, params);
      return wireEntry(await walker.walk(at(asked), bytes(asked.path), { followLast: asked.followLast }));
    },
    list: async (params) => {
      const asked = checked(shapes.list, params);
      const entries = await walker.list(at(asked), bytes(asked.path), asked.maxEntries);
      return { entries: entries.map(({ name, type }) => ({ name: name.toString('base64'), type })) };
    },
    readFile: async (params) => {
      const asked = checked(shapes.readFile, params);
      return { content: (await walker.readFile(at(asked), bytes(asked.path), asked.maxBytes)).toString('base64') };
    },
    makeView: async (params) => {
      const asked = checked(shapes.makeView, params);
      return shown(await views.make(at(asked), bytes(asked.path)));
    },
    restoreView: async (params) => {
      const asked = checked(shapes.restoreView, params);
      return shown(await views.restore(asked.view, bytes(asked.pathInView)));
    },
    holdView: async (params) => {
      const asked = checked(shapes.hold, params);
      await views.hold(asked.view, asked.holder);
    },
    releaseView: async (params) => {
      const asked = checked(shapes.hold, params);
      await views.release(asked.view, asked.holder);
    },
    prefetch: (params) => {
      const { view, pathInView, ...options } = checked(shapes.prefetch, params);
      return prefetch.run(() => views.directory(view, bytes(pathInView)), options);
    },
    measure: async (params) => {
      const asked = checked(shapes.restoreView, params);
      const { objects, bytes: all, fetched, fetchedBytes } = await prefetch.measure(() => views.directory(asked.view, bytes(asked.pathInView)));
      return { objects, bytes: all, missing: fetched, missingBytes: fetchedBytes };
    },
    recordStart: async (params) => {
      const { view, pathInView, forMs } = checked(shapes.recordStart, params);
      const files = (await server.speculation?.record(view, bytes(pathInView), forMs)) ?? null;
      return { files: files === null ? null : toWireFiles(files) };
    },
    replayStart: (params) => {
      const asked = checked(shapes.replayStart, params);
      const pathInView = bytes(asked.pathInView);
      // Nobody waits for it.
      void server.speculation?.replay(asked.view, pathInView, () => views.directory(asked.view, pathInView), fromWireFiles(asked.files));
    },
    unpin: (params) => prefetch.forget(checked(shapes.unpin, params).pin),
    cacheUsage: () => cache.usage(),
    cacheCheck: (params) => cache.check({ repair: checked(shapes.check, params).repair }),
    cacheWipe: (params) => cache.wipe({ force: checked(shapes.wipe, params).force }),
    cachePrune: () => server.prune(),
  };
}

