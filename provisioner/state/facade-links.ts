/**
 * What is remembered of the links that the facade made in the agent's docker store: what each leads to, the configuration
 * that the agent may still fetch, and the name under which its view is held. The row is made before the link, so that a
 * link is never there without it being known what it means; it goes when the link is gone.
 */
import type Database from 'better-sqlite3';
import { Failure } from '../../src/error';
import { isFqrn } from '../../src/config/repository-config';
import type { PinnedDirectory } from './rootfs-record';

export interface FacadeLink extends PinnedDirectory {
  readonly holder: string;
  /** The configuration object, byte for byte. */
  readonly config: Buffer;
  readonly madeMs: number;
}

interface Row extends Omit<FacadeLink, 'pathInView' | 'rootHash' | 'madeMs'> {
  path_in_view: Buffer;
  root_hash: string;
  made_ms: number;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const CATALOG_HASH = /^[0-9a-f]{40}(-rmd160|-shake128)?$/;

/** Paths are built and links made from these values, so a row that this program never writes is none. */
function parse({ path_in_view: pathInView, root_hash: rootHash, made_ms: madeMs, ...rest }: Row): FacadeLink {
  const sane = DIGEST.test(rest.digest) && isFqrn(rest.repository) && CATALOG_HASH.test(rest.view) && pathInView[0] === 0x2f && !pathInView.includes(0);
  if (!sane) throw new Failure('STATE_DAMAGED', `the record of facade link ${JSON.stringify(String(rest.digest).slice(0, 80))} makes no sense`);
  return { ...rest, pathInView, rootHash, madeMs };
}

/** A container of the agent that uses an image of the facade. */
export interface AgentUse {
  readonly container: string;
  readonly digest: string;
  readonly sinceMs: number;
}

/**
 * Made anew with each connection, since it is read from the agent's own files at each start: which containers of the agent
 * use which links; and all containers on directories of views, whoever made their root file system.
 */
export const USERS = `
  CREATE TEMP TABLE agent_use (container TEXT NOT NULL, digest TEXT NOT NULL, since_ms INTEGER NOT NULL, boot_id TEXT NOT NULL, PRIMARY KEY (digest, container)) STRICT, WITHOUT ROWID;
  CREATE TEMP VIEW view_user AS
    SELECT container, reference, repository, view, path_in_view, created_ms, boot_id, state FROM main.directory_use
    UNION ALL
    SELECT u.container, l.reference, l.repository, l.view, l.path_in_view, u.since_ms, u.boot_id, 'mounted' FROM temp.agent_use u JOIN main.facade_link l ON l.digest = u.digest;
`;

export class FacadeLinks {
  constructor(private readonly sql: (text: string) => Database.Statement) {}

  /** Replaces what was known of the agent's containers. */
  setUses(uses: readonly AgentUse[], bootId: string): void {
    this.sql('DELETE FROM agent_use').run();
    for (const use of uses) this.sql('INSERT OR IGNORE INTO agent_use (container, digest, since_ms, boot_id) VALUES (@container, @digest, @sinceMs, @bootId)').run({ ...use, bootId });
  }

  /** All links, oldest first; what makes no sense is given to `bad`. */
  all(bad: (failure: Failure) => void): FacadeLink[] {
    return (this.sql('SELECT * FROM facade_link ORDER BY made_ms, digest').all() as Row[]).flatMap((row) => {
      try {
        return [parse(row)];
      } catch (err) {
        bad(Failure.from(err));
        return [];
      }
    });
  }

  /** Digests of links on whose directories containers live that the agent's isolator module told of. */
  usedByIsolated(): string[] {
    return this.sql('SELECT DISTINCT l.digest FROM facade_link l JOIN isolated_use u ON u.view = l.view AND u.repository = l.repository AND u.path_in_view = l.path_in_view').pluck().all() as string[];
  }

  count(): number {
    return Number(this.sql('SELECT count(*) FROM facade_link').pluck().get());
  }

  put(link: FacadeLink): void {
    this.sql(
      `INSERT OR REPLACE INTO facade_link (digest, reference, holder, repository, path, view, path_in_view, root_hash, revision, config, made_ms)
       VALUES (@digest, @reference, @holder, @repository, @path, @view, @pathInView, @rootHash, @revision, @config, @madeMs)`,
    ).run({ ...link });
  }

  /** False when there was none. */
  remove(digest: string): boolean {
    return this.sql('DELETE FROM facade_link WHERE digest = ?').run(digest).changes > 0;
  }
}
