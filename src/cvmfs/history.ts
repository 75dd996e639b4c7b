/**
 * The history: a repository's named snapshots (spec 1.5). An SQLite file with a table
 *
 *     tags(name, hash, revision, timestamp, channel, description, size, branch)
 *
 * where `hash` is a root catalog and `branch` is empty for the trunk. Small, so all of it is read at once.
 */
import { Failure } from '../error';
import { Database, bounded, integer } from './database';
import { parseHash } from './hash';
import type { ContentHash } from './hash';

export interface Tag {
  readonly name: string;
  readonly rootHash: ContentHash;
  readonly revision: number;
  /** Unix seconds. */
  readonly timestamp: number;
  readonly description: string;
  /** Bytes of the decompressed root catalog; 0 where it is not said. */
  readonly rootSize: number;
  /** Empty for the trunk. */
  readonly branch: string;
}

const MAX_TAGS = 100_000;

export class History {
  private constructor(
    readonly fqrn: string | undefined,
    /** Hash of the history before this one. */
    readonly previous: ContentHash | undefined,
    /** Newest first: by time, then by revision. */
    readonly tags: readonly Tag[],
  ) {}

  /** Reads a decompressed history. HISTORY_INVALID for one that is damaged, hostile or of an unknown schema. */
  static read(path: string): History {
    const database = Database.open(path, 'HISTORY_INVALID', `history ${path}`);
    try {
      const properties = database.pairs('properties', 'key', 'value');
      const schema = properties.get('schema')?.toString() ?? '';
      if (Math.abs(Number(schema) - 1) >= 0.01) throw database.refuse(`its schema is ${JSON.stringify(schema)}, and 1.0 is read`);
      const previous = properties.get('previous_revision')?.toString();
      const tags = readTags(database).sort((a, b) => b.timestamp - a.timestamp || b.revision - a.revision);
      return new History(properties.get('fqrn')?.toString(), previous === undefined || previous === '' ? undefined : hash(database, previous), tags);
    } finally {
      database.close();
    }
  }

  byName(name: string): Tag | undefined {
    return this.tags.find((tag) => tag.name === name);
  }

  /** The trunk as it was at a time (Unix seconds): the highest revision published until then. */
  byDate(timestamp: number): Tag | undefined {
    let best: Tag | undefined;
    for (const tag of this.tags) {
      if (tag.branch === '' && tag.timestamp <= timestamp && (best === undefined || tag.revision > best.revision)) best = tag;
    }
    return best;
  }
}

function readTags(database: Database): Tag[] {
  database.require('tags', ['name', 'hash', 'revision', 'timestamp']);
  const text = (column: string): string => (database.columns('tags')?.has(column) === true ? bounded(column, 65536) : `''`);
  const size = database.columns('tags')?.has('size') === true ? integer('size') : '0';
  const statement = database.prepare(
    `SELECT ${text('name')}, ${text('hash')}, ${integer('revision')}, ${integer('timestamp')}, ${text('description')}, ${size}, ${text('branch')}
     FROM tags NOT INDEXED LIMIT ${MAX_TAGS + 1}`,
  );
  const rows = database.run(() => statement.raw().all()) as unknown[][];
  if (rows.length > MAX_TAGS) throw database.refuse(`it has more than ${MAX_TAGS} tags`);
  return rows.map(([name, root, revision, timestamp, description, rootSize, branch]) => {
    if (typeof name !== 'string' || name === '' || typeof root !== 'string' || !isCount(revision) || !isCount(timestamp)) {
      throw database.refuse('a tag has no name, hash, revision or time');
    }
    return {
      name,
      rootHash: hash(database, root),
      revision,
      timestamp,
      description: typeof description === 'string' ? description : '',
      rootSize: isCount(rootSize) ? rootSize : 0,
      branch: typeof branch === 'string' ? branch : '',
    };
  });
}

function hash(database: Database, text: string): ContentHash {
  try {
    return parseHash(text);
  } catch (error) {
    throw database.refuse(Failure.from(error).what);
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
