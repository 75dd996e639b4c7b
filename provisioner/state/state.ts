/**
 * The rows of the state database: every change is one durable transaction, on disk before the method returns; or, made in
 * `together`, before that resolves.
 */
import type Database from 'better-sqlite3';
import { Failure } from '../../src/error';
import { containerKey } from '../container-id';
import type { RootfsState, RootfsStateKind } from '../rootfs-state';
import { nextState } from '../rootfs-state';
import { Completions } from './completions';
import { FacadeLinks, USERS } from './facade-links';
import type { AgentUse, FacadeLink } from './facade-links';
import { GroupCommit } from './group-commit';
import { Isolated } from './isolated';
import type { BadRow, PinnedDirectory, RootfsRecord, RootfsRow } from './rootfs-record';
import { isBadRow, recordOf } from './rootfs-record';

/** How the names begin under which images hold views; a rootfs holds by its UUID. */
export const IMAGE_HOLDER = 'image.';

/** Under which name the agent's containers hold the view of a link, all of them together: it is no name of an image's hold. */
export function agentHolder(digest: string): string {
  return `agent.${digest.slice('sha256:'.length)}`;
}

/** The name under which the objects of an image are pinned. */
export function pinName(holder: string): string {
  return `image/${holder}`;
}

/** A view that is held for images rather than for one container. */
export interface ImageRecord extends PinnedDirectory {
  /** Under which name the view is held; a new one each time the image is taken up, so that a late release of an old hold cannot end a new one. */
  readonly holder: string;
  readonly usedMs: number;
  readonly pinnedMs: number | null;
}

/** A hold that a file system server has yet to give up. */
export interface PendingRelease {
  readonly repository: string;
  readonly view: string;
  readonly holder: string;
}

export interface Found {
  readonly records: RootfsRecord[];
  readonly bad: BadRow[];
}

interface ImageRow {
  digest: string;
  holder: string;
  reference: string;
  repository: string;
  path: Buffer;
  view: string;
  path_in_view: Buffer;
  root_hash: string;
  revision: number;
  used_ms: number;
  pinned_ms: number | null;
}

function columns(state: RootfsState): { state: RootfsStateKind; boot_id: string | null; reason: string | null } {
  return { state: state.kind, boot_id: 'bootId' in state ? state.bootId : null, reason: 'reason' in state ? state.reason : null };
}

function imageOf(row: ImageRow): ImageRecord {
  const { path_in_view: pathInView, root_hash: rootHash, used_ms: usedMs, pinned_ms: pinnedMs, ...rest } = row;
  return { ...rest, pathInView, rootHash, usedMs, pinnedMs };
}

function sorted(rows: RootfsRow[]): Found {
  const found = rows.map(recordOf);
  return { records: found.filter((one): one is RootfsRecord => !isBadRow(one)), bad: found.filter(isBadRow) };
}

export class State {
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();
  readonly #group: GroupCommit;
  readonly completions: Completions;
  readonly facadeLinks: FacadeLinks;
  readonly isolated: Isolated;

  /** @param db from `openDatabase`; closed with this object. */
  constructor(db: Database.Database) {
    this.#db = db;
    db.exec(USERS);
    this.#group = new GroupCommit(db);
    this.completions = new Completions((text) => this.#sql(text));
    this.facadeLinks = new FacadeLinks((text) => this.#sql(text));
    this.isolated = new Isolated({ sql: (text) => this.#sql(text), transaction: (work) => this.transaction(work), owe: (release) => this.#owe(release), endCompletion: (directory) => this.completions.end(directory) });
  }

  close(): void {
    this.#db.close();
  }

  /** All root file systems, oldest first. */
  all(): Found {
    return sorted(this.#sql('SELECT * FROM rootfs ORDER BY created_ms, uuid').all() as RootfsRow[]);
  }

  /** Those of a container and of all that are nested in it. */
  within(key: string): Found {
    // `0` follows `/` in ASCII: the range is exactly what begins with `key/`.
    return sorted(this.#sql('SELECT * FROM rootfs WHERE container = ? OR (container > ? AND container < ?) ORDER BY created_ms, uuid').all(key, `${key}/`, `${key}0`) as RootfsRow[]);
  }

  /** The rootfs that a caller's key stands for. */
  byRequest(key: string, request: string): RootfsRecord | BadRow | undefined {
    const row = this.#sql('SELECT * FROM rootfs WHERE container = ? AND idempotency_key = ?').get(key, request) as RootfsRow | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  counts(): { containers: number; rootfses: number } {
    return this.#sql('SELECT count(DISTINCT container) AS containers, count(*) AS rootfses FROM rootfs').get() as { containers: number; rootfses: number };
  }

  rootfsesOf(key: string): number {
    return Number(this.#sql('SELECT count(*) FROM rootfs WHERE container = ?').pluck().get(key));
  }

  countsByState(): Map<string, number> {
    return new Map(this.#sql('SELECT state, count(*) FROM rootfs GROUP BY state').raw().all() as Array<[string, number]>);
  }

  /** Writes the intent, and remembers the image, so that its view stays held when the container is gone. */
  intend(record: RootfsRecord & { readonly state: { readonly kind: 'intended' } }, newHolder: string): ImageRecord {
    const { image } = record;
    return this.transaction(() => {
      this.#sql(
        `INSERT INTO rootfs (uuid, container, backend, state, reason, boot_id, reference, repository, path, view, path_in_view, root_hash, revision, digest, manifest, idempotency_key, fingerprint, created_ms)
         VALUES (@uuid, @container, @backend, @state, @reason, @boot_id, @reference, @repository, @path, @view, @pathInView, @rootHash, @revision, @digest, @manifest, @key, @fingerprint, @createdMs)`,
      ).run({
        ...image,
        ...columns(record.state),
        uuid: record.uuid,
        container: containerKey(record.container),
        backend: record.backend,
        manifest: JSON.stringify(record.manifest),
        key: record.request?.key ?? null,
        fingerprint: record.request?.fingerprint ?? null,
        createdMs: record.createdMs,
      });
      return this.rememberImage(image, newHolder, record.createdMs);
    });
  }

  /** The one door for states; returns the record as it is now. */
  move(record: RootfsRecord, to: RootfsState): RootfsRecord {
    const state = nextState(record.state, to);
    const { changes } = this.#sql('UPDATE rootfs SET state = @state, boot_id = @boot_id, reason = @reason WHERE uuid = @uuid').run({ ...columns(state), uuid: record.uuid });
    if (changes !== 1) throw new Failure('INTERNAL', `the record of rootfs ${record.uuid} is gone`);
    return { ...record, state };
  }

  moveAll(records: readonly RootfsRecord[], to: RootfsState): RootfsRecord[] {
    return this.transaction(() => records.map((record) => this.move(record, to)));
  }

  /** The rootfs is gone. Its hold on the view is owed to the file system server from the same instant on, and what was pinned for it if it was the last on its image. */
  remove(record: RootfsRecord): PendingRelease {
    const release = { repository: record.image.repository, view: record.image.view, holder: record.uuid };
    this.transaction(() => {
      this.#sql('DELETE FROM rootfs WHERE uuid = ?').run(record.uuid);
      this.#owe(release);
      this.#endCompletion(record.image);
    });
    return release;
  }

  /** Removes rows that make no sense, when the container that they name is destroyed. */
  removeBad(rows: readonly BadRow[]): void {
    this.transaction(() => {
      for (const row of rows) this.#sql('DELETE FROM rootfs WHERE uuid = ?').run(row.uuid);
      for (const completion of this.completions.all()) if (this.completions.end(completion) !== undefined) this.#owe(completion);
    });
  }

  /** Remembers that an image was used; an image that is there keeps its holder and its pin. */
  rememberImage(image: PinnedDirectory, newHolder: string, usedMs: number): ImageRecord {
    const row = this.#sql(
      `INSERT INTO image (digest, holder, reference, repository, path, view, path_in_view, root_hash, revision, used_ms)
       VALUES (@digest, @newHolder, @reference, @repository, @path, @view, @pathInView, @rootHash, @revision, @usedMs)
       ON CONFLICT (digest, reference) DO UPDATE SET path = excluded.path, root_hash = excluded.root_hash, revision = excluded.revision, used_ms = excluded.used_ms
       RETURNING *`,
    ).get({ ...image, newHolder, usedMs }) as ImageRow;
    return imageOf(row);
  }

  /** Least recently used first. */
  images(): ImageRecord[] {
    return (this.#sql('SELECT * FROM image ORDER BY used_ms, digest').all() as ImageRow[]).map(imageOf);
  }

  imageCount(): number {
    return Number(this.#sql('SELECT count(*) FROM image').pluck().get());
  }

  /** Pins an image under all its names, or with null lets it go; false when that changed nothing. */
  pinImage(digest: string, pinnedMs: number | null): boolean {
    return this.#sql('UPDATE image SET pinned_ms = ? WHERE digest = ? AND (pinned_ms IS NULL) <> (? IS NULL)').run(pinnedMs, digest, pinnedMs).changes > 0;
  }

  /** Forgets an image; its hold is owed to the server. */
  removeImage(image: ImageRecord): PendingRelease {
    const release = { repository: image.repository, view: image.view, holder: image.holder };
    this.transaction(() => {
      this.#sql('DELETE FROM image WHERE digest = ? AND reference = ?').run(image.digest, image.reference);
      this.#owe(release);
    });
    return release;
  }

  /** Forgets a link of the facade; its holds are owed to the server. */
  removeFacadeLink(link: FacadeLink): void {
    this.transaction(() => {
      if (!this.facadeLinks.remove(link.digest)) return;
      this.#owe(link);
      this.#owe({ ...link, holder: agentHolder(link.digest) });
      this.#endCompletion(link);
    });
  }

  /** Says anew which links the agent's containers use; what only those needed that are gone is owed to the servers. */
  setAgentUses(uses: readonly AgentUse[], bootId: string, unused: readonly FacadeLink[]): void {
    this.transaction(() => {
      this.facadeLinks.setUses(uses, bootId);
      for (const link of unused) {
        this.#owe({ ...link, holder: agentHolder(link.digest) });
        this.#endCompletion(link);
      }
    });
  }

  /** Digests of images that some rootfs, or a container of the agent's isolator module, uses. */
  usedDigests(): Set<string> {
    return new Set(
      this.#sql(
        `SELECT digest FROM rootfs
         UNION SELECT i.digest FROM image i JOIN isolated_use u ON u.repository = i.repository AND u.view = i.view AND u.path_in_view = i.path_in_view`,
      )
        .pluck()
        .all() as string[],
    );
  }

  releases(): PendingRelease[] {
    return this.#sql('SELECT repository, view, holder FROM release').all() as PendingRelease[];
  }

  /** Not waited for on disk: after a crash of the host they are paid once more, which changes nothing. */
  released(releases: readonly PendingRelease[]): void {
    this.#db.pragma('synchronous = NORMAL');
    try {
      this.transaction(() => releases.forEach((release) => this.#sql('DELETE FROM release WHERE repository = @repository AND view = @view AND holder = @holder').run(release)));
    } finally {
      this.#db.pragma('synchronous = FULL');
    }
  }

  transaction<T>(work: () => T): T {
    return this.#db.transaction(work)();
  }

  /** Like `transaction`, in one with all changes that are asked for in this turn of the event loop; resolves when it is on disk. */
  together<T>(work: () => T): Promise<T> {
    return this.#group.run(work);
  }

  #endCompletion(directory: PinnedDirectory): void {
    const holder = this.completions.end(directory);
    if (holder !== undefined) this.#owe({ ...directory, holder });
  }

  #owe(release: PendingRelease): void {
    const { repository, view, holder } = release;
    this.#sql('INSERT OR IGNORE INTO release (repository, view, holder) VALUES (@repository, @view, @holder)').run({ repository, view, holder });
  }

  #sql(text: string): Database.Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) this.#statements.set(text, (statement = this.#db.prepare(text)));
    return statement;
  }
}
