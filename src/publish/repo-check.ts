/**
 * `repo check`: is a repository what clients will believe it is? It looks at the trust chain, history and reflog, at every
 * catalog of the newest revision (and of all tags, if asked), and at every object that they name. It reports all that it
 * finds and never stops at the first; what an unreadable catalog would have led to is not looked at.
 *
 * Two kinds of findings: a fault is something that a client can run into; a remark is not (an orphan of a crash, say).
 * Memory is bounded: what was looked at already is remembered in a temporary database.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import { MAX_CERTIFICATE_BYTES } from '../cvmfs/certificate';
import { formatHash, hashBytes, sameHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { History } from '../cvmfs/history';
import { inflateBounded } from '../cvmfs/inflate';
import { MAX_MANIFEST_BYTES } from '../cvmfs/manifest';
import { objectPath } from '../cvmfs/object';
import type { ObjectId } from '../cvmfs/object';
import { checkRepositoryName } from '../cvmfs/repository-name';
import { checkManifest, verifyTrust } from '../cvmfs/trust';
import type { TrustedManifest } from '../cvmfs/trust';
import { MAX_WHITELIST_BYTES } from '../cvmfs/whitelist';
import { checkCatalog } from './check-catalog';
import type { CatalogExpectation } from './check-catalog';
import { totalCounters } from './catalog-statistics';
import type { Counters } from './catalog-statistics';
import { DirectoryStorage } from './directory-storage';
import { openPublished } from './published-catalog';
import type { PublishedCatalog } from './published-catalog';
import { systemWorld } from './publish-world';
import type { PublishWorld } from './publish-world';
import { MAX_REFLOG_BYTES, readReflog, REFERENCE_TYPES, REFLOG_NAME } from './reflog';
import { MANIFEST_NAME, WHITELIST_NAME } from './revision-writer';
import { shownPath } from './source';
import { storageDirectory } from './storage';
import type { Storage } from './storage';
import { unpackObject, unpackToBuffer, unpackToFile } from './unpack-object';
import { WorkDir } from './work-dir';

export interface CheckOptions {
  readonly fqrn: string;
  readonly storage: string;
  /** PEM texts of master public keys. */
  readonly masterKeys: readonly string[];
  /** Also the revisions that tags name; default true. */
  readonly tags?: boolean;
  /** Read every object and compare it with its name; default true. False: only look whether it is there. */
  readonly content?: boolean;
}

export interface Finding {
  readonly severity: 'fault' | 'remark';
  /** What it is about: a file of the storage, or a path in a revision. */
  readonly where: string;
  readonly what: string;
}

export interface CheckReport {
  readonly fqrn: string;
  readonly revision: number | undefined;
  readonly catalogs: number;
  readonly entries: number;
  readonly objects: number;
  /** Stored bytes of the objects read. */
  readonly bytes: number;
  /** The first `MAX_FINDINGS` of them. */
  readonly findings: readonly Finding[];
  /** All faults, also those that are not among the findings any more. */
  readonly faults: number;
}

export const MAX_FINDINGS = 10_000;
const MAX_HISTORY_BYTES = 1 << 30;
const SMALL_BYTES = 1 << 20;
const SMALL_PLAIN_BYTES = 16 << 20;
const MAX_METAINFO_BYTES = 65_536;
/** Nobody nests deeper by hand; a cycle is found before. */
const MAX_DEPTH = 1000;

export async function checkRepository(options: CheckOptions, world: Pick<PublishWorld, 'now'> = systemWorld): Promise<CheckReport> {
  const storage = new DirectoryStorage(storageDirectory(options.storage));
  const workDir = new WorkDir();
  const check = new Check(checkRepositoryName(options.fqrn), storage, workDir, options, world.now());
  try {
    return await check.run();
  } finally {
    check.close();
    workDir.remove();
  }
}

class Check {
  private readonly findings: Finding[] = [];
  private faults = 0;
  private catalogs = 0;
  private entries = 0;
  private objects = 0;
  private bytes = 0;
  private readonly seen: Sqlite.Database;
  private readonly remember: Sqlite.Statement;

  constructor(
    private readonly fqrn: string,
    private readonly storage: Storage,
    private readonly workDir: WorkDir,
    private readonly options: CheckOptions,
    private readonly now: Date,
  ) {
    this.seen = new Sqlite(path.join(workDir.path, 'seen.sqlite'));
    this.seen.pragma('journal_mode = OFF');
    this.seen.pragma('synchronous = OFF');
    this.seen.exec('CREATE TABLE seen (name TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN');
    this.remember = this.seen.prepare('INSERT OR IGNORE INTO seen VALUES (?)');
  }

  close(): void {
    this.seen.close();
  }

  async run(): Promise<CheckReport> {
    const manifest = await this.trust();
    if (manifest !== undefined) {
      const tags = await this.history(manifest);
      await this.metainfo(manifest);
      await this.reflog(manifest);
      await this.revision(manifest.rootHash, { revision: manifest.revision, size: manifest.rootSize }, `revision ${manifest.revision}`);
      for (const tag of this.options.tags === false ? [] : tags) {
        if (!sameHash(tag.rootHash, manifest.rootHash))
          await this.revision(tag.rootHash, { revision: tag.revision, size: tag.rootSize }, `tag ${tag.name}`);
      }
    }
    const { fqrn, catalogs, entries, objects, bytes, findings, faults } = this;
    return { fqrn, revision: manifest?.revision, catalogs, entries, objects, bytes, findings, faults };
  }

  private readonly report = (severity: Finding['severity'], where: string, what: string): void => {
    if (severity === 'fault') this.faults += 1;
    if (this.findings.length < MAX_FINDINGS) this.findings.push({ severity, where, what });
  };

  /** Runs a part of the check; what it throws becomes a finding. */
  private async part<T>(where: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (err) {
      this.report('fault', where, Failure.from(err).message);
      return undefined;
    }
  }

  private async trust(): Promise<TrustedManifest | undefined> {
    const bytes = await this.storage.read(MANIFEST_NAME, MAX_MANIFEST_BYTES);
    if (bytes === undefined)
      throw new Failure('NOT_FOUND', `there is no repository in ${this.storage.place}`, { next: 'see whether --storage is right' });
    const input = { source: this.storage.place, fqrn: this.fqrn, manifest: bytes };
    const manifest = await this.part(MANIFEST_NAME, async () => checkManifest(input));
    if (manifest === undefined) return undefined;
    await this.part('trust chain', async () => {
      const whitelist = await this.storage.read(WHITELIST_NAME, MAX_WHITELIST_BYTES);
      if (whitelist === undefined) throw new Failure('WHITELIST_INVALID', `${WHITELIST_NAME} is missing`);
      const certificate = await unpackToBuffer(
        this.storage,
        { hash: manifest.certificate, kind: 'certificate', compression: 'zlib' },
        MAX_CERTIFICATE_BYTES,
      );
      this.objects += 1;
      verifyTrust({ ...input, whitelist, certificate, masterKeys: this.options.masterKeys, blacklists: [], now: this.now });
    });
    return manifest;
  }

  private async history(manifest: TrustedManifest): Promise<History['tags']> {
    if (manifest.history === undefined) return [];
    const hash = manifest.history;
    const history = await this.part('history', async () => {
      const file = this.workDir.file('history');
      await unpackToFile(this.storage, { hash, kind: 'history', compression: 'zlib' }, file, MAX_HISTORY_BYTES);
      this.objects += 1;
      const read = History.read(file);
      fs.rmSync(file);
      return read;
    });
    if (history === undefined) return [];
    if (history.fqrn !== this.fqrn) this.report('fault', 'history', `it is that of ${String(history.fqrn)}`);
    const trunk = history.byName('trunk');
    if (trunk !== undefined && !sameHash(trunk.rootHash, manifest.rootHash))
      this.report('fault', 'history', `its tag trunk is ${formatHash(trunk.rootHash)} and not the newest revision`);
    const { previous } = history;
    if (previous !== undefined && (await this.storage.size(objectPath({ hash: previous, kind: 'history', compression: 'zlib' }))) === undefined) {
      this.report('remark', 'history', `the history before it, ${formatHash(previous)}, is gone`);
    }
    return history.tags;
  }

  private async metainfo(manifest: TrustedManifest): Promise<void> {
    const hash = manifest.metainfo;
    if (hash === undefined) return;
    await this.part('metainfo', async () => {
      const text = await unpackToBuffer(this.storage, { hash, kind: 'metainfo', compression: 'zlib' }, MAX_METAINFO_BYTES);
      this.objects += 1;
      try {
        JSON.parse(text.toString());
      } catch (err) {
        throw new Failure('OBJECT_CORRUPT', `it is not JSON: ${(err as Error).message}`);
      }
    });
  }

  private async reflog(manifest: TrustedManifest): Promise<void> {
    const bytes = await this.storage.read(REFLOG_NAME, MAX_REFLOG_BYTES);
    if (bytes === undefined) {
      if (manifest.reflog !== undefined) this.report('fault', REFLOG_NAME, 'it is missing');
      return;
    }
    await this.part(REFLOG_NAME, async () => {
      const file = this.workDir.file('reflog');
      fs.writeFileSync(file, bytes);
      const references = readReflog(file, this.fqrn);
      fs.rmSync(file);
      // A publish that died before its manifest, or a garbage collection, leaves such a reflog.
      if (manifest.reflog !== undefined && !sameHash(hashBytes(manifest.reflog.algorithm, bytes), manifest.reflog)) {
        this.report('remark', REFLOG_NAME, 'it does not have the hash that the manifest says');
      }
      const wanted: Array<[string, ContentHash | undefined, number]> = [
        ['root catalog', manifest.rootHash, REFERENCE_TYPES.catalog],
        ['certificate', manifest.certificate, REFERENCE_TYPES.certificate],
        ['history', manifest.history, REFERENCE_TYPES.history],
        ['metainfo', manifest.metainfo, REFERENCE_TYPES.metainfo],
      ];
      for (const [what, hash, type] of wanted) {
        if (hash !== undefined && references.get(formatHash(hash)) !== type)
          this.report('fault', REFLOG_NAME, `it does not know the ${what} of the newest revision`);
      }
      const letters: Record<number, ObjectId['kind']> = { 0: 'catalog', 1: 'certificate', 2: 'history', 3: 'metainfo' };
      for (const [text, type] of references) {
        const kind = letters[type];
        const hash = kind === undefined ? undefined : parseOrUndefined(text);
        if (kind === undefined || hash === undefined)
          this.report('fault', REFLOG_NAME, `it has an entry that is no reference: ${JSON.stringify(text.slice(0, 80))}, type ${type}`);
        else if ((await this.storage.size(objectPath({ hash, kind, compression: 'zlib' }))) === undefined)
          this.report('fault', REFLOG_NAME, `its ${kind} ${text} is not there`);
      }
    });
  }

  private async revision(hash: ContentHash, expected: { revision: number; size: number }, where: string): Promise<void> {
    const root = await this.catalog({ hash, size: expected.size, path: Buffer.alloc(0), mountpoint: undefined }, where, [], 0);
    if (root !== undefined && root.revision !== expected.revision)
      this.report('fault', where, `its root catalog says revision ${root.revision}, not ${expected.revision}`);
  }

  /** Checks a catalog and all below it; resolves to what its parent counts, undefined when it cannot be read. */
  private async catalog(
    expectation: CatalogExpectation,
    where: string,
    above: readonly string[],
    depth: number,
  ): Promise<{ revision: number; total: Counters } | undefined> {
    const text = formatHash(expectation.hash);
    const place = `${where}, catalog ${text} at ${shownPath(expectation.path)}`;
    if (above.includes(text) || depth > MAX_DEPTH) {
      this.report('fault', place, 'it contains itself');
      return undefined;
    }
    const opened = await this.part(place, () => openPublished(this.storage, expectation.hash, this.workDir));
    if (opened === undefined) return undefined;
    try {
      // A nested catalog is at one place only, so the same hash at the same place has been checked with all below it.
      const fresh = this.remember.run(`catalog ${text} ${expectation.path.toString('latin1')}`).changes > 0;
      if (fresh) await this.contents(opened, expectation, where, place, [...above, text], depth);
      return { revision: opened.catalog.revision, total: totalCounters(opened.statistics) };
    } finally {
      opened.close();
    }
  }

  private async contents(
    opened: PublishedCatalog,
    expectation: CatalogExpectation,
    where: string,
    place: string,
    above: readonly string[],
    depth: number,
  ): Promise<void> {
    this.catalogs += 1;
    this.objects += 1;
    const below: CatalogExpectation[] = [];
    const tally = await this.part(place, () =>
      checkCatalog(opened, expectation, {
        fault: (at, what) => this.report('fault', `${where}, ${shownPath(at)}`, what),
        object: (at, id, size) => this.object(id, size, `${where}, ${shownPath(at)}`),
        nested: (child) => void below.push(child),
      }),
    );
    this.entries += tally?.entries ?? 0;
    const sum: Counters[] = [];
    for (const child of below) {
      const checked = await this.catalog(child, where, above, depth + 1);
      if (checked === undefined) return; // already reported, and the sum would only repeat it
      sum.push(checked.total);
    }
    for (const counter of Object.keys(opened.statistics.subtree) as Array<keyof Counters>) {
      const counted = sum.reduce((total, counters) => total + counters[counter], 0);
      const stated = opened.statistics.subtree[counter];
      if (counted !== stated) this.report('fault', place, `its counter subtree_${counter} is ${stated}, and the catalogs below have ${counted}`);
    }
  }

  private async object(id: ObjectId, plainBytes: number, where: string): Promise<void> {
    const name = objectPath(id);
    // One object may stand for files of one size only; the size is part of what was checked.
    if (this.remember.run(`${name} ${id.compression} ${plainBytes}`).changes === 0) return;
    this.objects += 1;
    const stored = await this.storage.size(name);
    if (stored === undefined) return this.report('fault', where, `its object ${name} is missing`);
    this.bytes += stored;
    if (this.options.content === false) return;
    await this.part(where, async () => {
      if (stored <= SMALL_BYTES && plainBytes <= SMALL_PLAIN_BYTES) return this.smallObject(id, name, plainBytes);
      let bytes = 0;
      await unpackObject(this.storage, id, plainBytes, async (pieces) => {
        for await (const piece of pieces) bytes += piece.length;
      });
      if (bytes !== plainBytes) throw new Failure('OBJECT_CORRUPT', `its object ${name} has ${bytes} bytes, not ${plainBytes}`);
    });
  }

  /** A stream for each of 50,000 small files would take longer than all their bytes. */
  private async smallObject(id: ObjectId, name: string, plainBytes: number): Promise<void> {
    const stored = await this.storage.read(name, SMALL_BYTES);
    if (stored === undefined) throw new Failure('OBJECT_MISSING', `its object ${name} is missing`);
    const hash = hashBytes(id.hash.algorithm, stored);
    if (!sameHash(hash, id.hash)) throw new Failure('OBJECT_CORRUPT', `its object ${name} has the hash ${formatHash(hash)}`);
    const bytes = id.compression === 'zlib' ? inflateBounded(stored, plainBytes).length : stored.length;
    if (bytes !== plainBytes) throw new Failure('OBJECT_CORRUPT', `its object ${name} has ${bytes} bytes, not ${plainBytes}`);
  }
}

function parseOrUndefined(text: string): ContentHash | undefined {
  const match = /^([0-9a-f]{40})(?:-(rmd160|shake128))?$/.exec(text);
  if (match === null) return undefined;
  return { algorithm: (match[2] as ContentHash['algorithm'] | undefined) ?? 'sha1', digest: Buffer.from(match[1]!, 'hex') };
}
