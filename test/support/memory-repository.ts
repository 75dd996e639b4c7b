/**
 * A repository in memory, with revisions: what the rooms above the repository are tested against when no bytes of a real
 * one are needed. Paths are latin1 texts of their bytes; parents are made by themselves.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../../src/error';
import type { EntryType, RepositoryReader, Snapshot, WalkedEntry, WalkOptions } from '../../src/repository/reader';

export type MemoryNode = { readonly type: 'file'; readonly content: Buffer } | { readonly type: 'symlink'; readonly target: string } | { readonly type: Exclude<EntryType, 'file' | 'symlink'> };
export type MemoryTree = Readonly<Record<string, MemoryNode>>;

export const file = (content: string | Buffer): MemoryNode => ({ type: 'file', content: Buffer.from(content) });
export const link = (target: string): MemoryNode => ({ type: 'symlink', target });
export const directory: MemoryNode = { type: 'directory' };

interface Revision {
  readonly nodes: Map<string, MemoryNode>;
  readonly catalogs: readonly string[];
}

const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 1));
const below = (path: string, root: string): boolean => root === '/' || path === root || path.startsWith(`${root}/`);

export class MemoryRepository implements RepositoryReader {
  private readonly revisions: Revision[] = [];
  /** Calls of `walk`, `list` and `readFile` so far. */
  calls = 0;

  constructor(
    readonly fqrn: string,
    tree: MemoryTree,
    catalogs: readonly string[] = [],
  ) {
    this.publish(tree, catalogs);
  }

  /** A new revision; `catalogs` are the directories that have a catalog of their own. */
  publish(tree: MemoryTree, catalogs: readonly string[] = []): void {
    const nodes = new Map<string, MemoryNode>([['/', directory]]);
    for (const [path, node] of Object.entries(tree)) {
      for (let parent = parentOf(path); parent !== '/'; parent = parentOf(parent)) if (!nodes.has(parent)) nodes.set(parent, directory);
      nodes.set(path, node);
    }
    this.revisions.push({ nodes, catalogs: [...catalogs].sort((a, b) => b.length - a.length) });
  }

  async snapshot(): Promise<Snapshot> {
    const revision = this.revisions.length;
    return { revision, rootHash: this.hash(this.revisions[revision - 1]!, '/') };
  }

  async walk(snapshot: Snapshot, path: Buffer, options: WalkOptions = {}): Promise<WalkedEntry> {
    this.calls++;
    const revision = this.at(snapshot);
    let todo = path.toString('latin1').split('/').filter((name) => name !== '' && name !== '.');
    let at = '/';
    for (let links = 0; todo.length > 0; ) {
      const name = todo.shift()!;
      const next = name === '..' ? parentOf(at) : at === '/' ? `/${name}` : `${at}/${name}`;
      if (revision.nodes.get(at)!.type !== 'directory') throw new Failure('NOT_A_DIRECTORY', `${at} is not a directory`);
      const node = revision.nodes.get(next);
      if (node === undefined) throw new Failure('NOT_FOUND', `${next} does not exist`);
      if (node.type !== 'symlink' || (todo.length === 0 && options.followLast === false)) {
        at = next;
        continue;
      }
      if (++links > 40) throw new Failure('LINK_LOOP', `${path.toString()} follows too many links`);
      if (node.target.startsWith('/')) at = '/';
      todo = [...node.target.split('/').filter((part) => part !== '' && part !== '.'), ...todo];
    }
    return this.entry(revision, at);
  }

  async list(snapshot: Snapshot, path: Buffer, maxEntries: number): Promise<Array<{ name: Buffer; type: EntryType }>> {
    const entry = await this.walk(snapshot, path);
    if (entry.type !== 'directory') throw new Failure('NOT_A_DIRECTORY', `${path.toString()} is not a directory`);
    const at = entry.path.toString('latin1');
    const children = [...this.at(snapshot).nodes].filter(([child]) => child !== '/' && parentOf(child) === at);
    if (children.length > maxEntries) throw new Failure('RESOURCE_EXHAUSTED', `${at} has more than ${maxEntries} entries`);
    return children.map(([child, node]) => ({ name: Buffer.from(child.slice(child.lastIndexOf('/') + 1), 'latin1'), type: node.type }));
  }

  async readFile(snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer> {
    const entry = await this.walk(snapshot, path);
    const node = this.at(snapshot).nodes.get(entry.path.toString('latin1'));
    if (node?.type !== 'file') throw new Failure('FAILED_PRECONDITION', `${path.toString()} is not a file`);
    if (node.content.length > maxBytes) throw new Failure('RESOURCE_EXHAUSTED', `${path.toString()} is too large`);
    return node.content;
  }

  private at(snapshot: Snapshot): Revision {
    const revision = this.revisions[snapshot.revision - 1];
    if (revision === undefined) throw new Failure('NOT_FOUND', `no revision ${snapshot.revision}`);
    return revision;
  }

  private entry(revision: Revision, at: string): WalkedEntry {
    const node = revision.nodes.get(at)!;
    const catalog = revision.catalogs.find((root) => below(at, root)) ?? '/';
    return {
      path: Buffer.from(at, 'latin1'),
      type: node.type,
      mode: node.type === 'directory' ? 0o40755 : 0o100644,
      uid: 0,
      gid: 0,
      size: node.type === 'file' ? node.content.length : 0,
      mtime: 0,
      ...(node.type === 'symlink' ? { target: Buffer.from(node.target, 'latin1') } : {}),
      catalog: { hash: this.hash(revision, catalog), path: Buffer.from(catalog, 'latin1') },
    };
  }

  /** Changes with everything below, as a real catalog's hash does. */
  private hash(revision: Revision, root: string): string {
    const hash = createHash('sha1');
    for (const [path, node] of [...revision.nodes].sort()) {
      if (below(path, root)) hash.update(JSON.stringify([path, node.type, node.type === 'symlink' ? node.target : node.type === 'file' ? node.content.toString('latin1') : '']));
    }
    return hash.digest('hex');
  }
}
