/**
 * Looks at everything in the cache, and repairs it when asked. Runs beside servers that use the cache: whatever it
 * removes is judged again under the index's write lock, by inode, so nothing that was stored meanwhile is lost.
 */
import * as fs from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Totals } from './object-index';
import { objectFile, parseObjectName } from './object-name';
import type { StoreContext } from './store';
import { removeStaleTempFiles, staleTempFiles } from './temp-file';
import { inspectObject, verifyObject } from './verify';

const SLICE_RECORDS = 512;
const MAX_NAMES = 1000;

/** How often something was found, and the first thousand names. */
export interface Finding {
  count: number;
  readonly names: string[];
}

export interface CheckReport {
  /** Objects looked at, and their plain bytes. */
  objects: number;
  bytes: number;
  /** Files whose length or digest is not the recorded one; `repair` removes them. */
  readonly damaged: Finding;
  /** Files without a record; `repair` adopts those that prove themselves by their name and removes the others. */
  readonly unrecorded: Finding;
  /** Records without a file; `repair` removes them. */
  readonly missing: Finding;
  /** Left by processes that died; `repair` removes them. */
  readonly staleTempFiles: Finding;
  /** What is no object at all (paths below `objects/`); `repair` removes it. */
  readonly strangers: Finding;
  /** The index's sums are wrong; `repair` corrects them. */
  readonly totals: { readonly recorded: Totals; readonly actual: Totals };
  /** Nothing was wrong, or all of it has been repaired. */
  readonly sound: boolean;
  readonly repaired: boolean;
}

export interface CheckOptions {
  readonly repair: boolean;
  readonly now: () => number;
  readonly signal?: AbortSignal;
}

export async function checkCache(context: StoreContext, options: CheckOptions): Promise<CheckReport> {
  const report = { objects: 0, bytes: 0, damaged: finding(), unrecorded: finding(), missing: finding(), staleTempFiles: finding(), strangers: finding() };
  for (const entry of walkObjects(context.dir)) {
    options.signal?.throwIfAborted();
    if (entry.name === null) {
      add(report.strangers, entry.path);
      if (options.repair) fs.rmSync(entry.path, { recursive: true, force: true });
      continue;
    }
    const inspection = await inspectObject(context, entry.name);
    if (inspection.state === 'absent') continue;
    report.objects++;
    report.bytes += fs.lstatSync(entry.path, { throwIfNoEntry: false })?.size ?? 0;
    if (inspection.state === 'sound') continue;
    add(inspection.state === 'damaged' ? report.damaged : report.unrecorded, entry.name);
    if (options.repair) await verifyObject(context, entry.name, { now: options.now(), always: true });
  }
  await checkRecords(context, options, report.missing);
  for (const name of staleTempFiles(`${context.dir}/txn`)) add(report.staleTempFiles, name);
  if (options.repair) removeStaleTempFiles(`${context.dir}/txn`);
  const { recorded, actual } = context.index.exclusively(() => ({ recorded: context.index.totals(), actual: context.index.recount(options.repair) }));
  const wrong = [report.damaged, report.unrecorded, report.missing, report.staleTempFiles, report.strangers].some((found) => found.count > 0);
  const sound = options.repair || !(wrong || recorded.bytes !== actual.bytes || recorded.objects !== actual.objects);
  return { ...report, totals: { recorded, actual }, sound, repaired: options.repair };
}

/** Removes files that have no record; with `adopt`, those that prove themselves by their name get one instead. */
export async function removeUnrecorded(context: StoreContext, options: { readonly adopt: boolean; readonly now: () => number }): Promise<void> {
  for (const entry of walkObjects(context.dir)) {
    const { name } = entry;
    if (name !== null && context.index.lookup(name) !== null) continue;
    if (name !== null && options.adopt && parseObjectName(name)!.compression === 'none') {
      await verifyObject(context, name, { now: options.now(), always: true });
      continue;
    }
    context.index.exclusively(() => {
      if (name === null || context.index.lookup(name) === null) fs.rmSync(entry.path, { recursive: true, force: true });
    });
    await nextTurn();
  }
}

async function checkRecords(context: StoreContext, options: CheckOptions, missing: Finding): Promise<void> {
  const isAbsent = (name: string): boolean => fs.lstatSync(objectFile(context.dir, name), { throwIfNoEntry: false }) === undefined;
  for (let after = ''; ; ) {
    options.signal?.throwIfAborted();
    await nextTurn();
    const records = context.index.recordsAfter(after, SLICE_RECORDS);
    if (records.length === 0) return;
    after = records[records.length - 1]!.name;
    const absent = records.map((record) => record.name).filter(isAbsent);
    for (const name of absent) add(missing, name);
    // A record without a file may also be an object that is just being stored: its rename makes the record again.
    if (options.repair && absent.length > 0) context.index.exclusively(() => context.index.forget(absent.filter(isAbsent)));
  }
}

/** Everything below `objects/`, one folder in memory at a time; `name` is null for what is no object. */
function* walkObjects(dir: string): Generator<{ readonly path: string; readonly name: string | null }> {
  for (const folder of fs.readdirSync(`${dir}/objects`, { withFileTypes: true })) {
    const path = `${dir}/objects/${folder.name}`;
    if (!folder.isDirectory() || !/^[0-9a-f]{2}$/.test(folder.name)) {
      yield { path, name: null };
      continue;
    }
    for (const name of fs.readdirSync(path)) {
      const ours = name.startsWith(folder.name) && parseObjectName(name) !== null;
      yield { path: `${path}/${name}`, name: ours ? name : null };
    }
  }
}

function finding(): Finding {
  return { count: 0, names: [] };
}

function add(found: Finding, name: string): void {
  found.count++;
  if (found.names.length < MAX_NAMES) found.names.push(name);
}
