/** The file system of one mounted repository (file-system.ts), as one thread of its server sees it. */
import { Failure } from '../../error';
import { parseXattrs } from '../../cvmfs/xattr-blob';
import type { ObjectNeed } from '../../repository/missing';
import type { NodeAttributes } from '../../repository/node-attributes';
import { isRoot, isViews } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import type { SharedState } from '../../repository/shared-state';
import type { Tree } from '../../repository/tree';
import { AskMain } from '../file-system';
import type { FileSystem, Listed } from '../file-system';

/** Reads object bytes that are local; throws `Missing` otherwise. Returns the bytes read, fewer only at the object's end. */
export interface ObjectBytes {
  read(need: ObjectNeed, into: Buffer, at: number, offset: number, length: number): number;
}

/** What only the main thread knows. */
export interface MainKnowledge {
  /** The attribute's value; null: not a magic attribute, or not one of this node. */
  magicXattr(node: NodeId, name: string): Buffer | null;
  /** Names of magic attributes that a listing of the node shows to this user. */
  magicNames(node: NodeId, uid: number): readonly string[];
  /** 80 bytes of kstatfs. */
  statfs(): Buffer;
}

export interface FileSystemWorld {
  readonly tree: Tree;
  readonly objects: ObjectBytes;
  readonly shared: SharedState;
  /** True when listings of every node show magic attributes, not only the root's. */
  readonly magicEverywhere: boolean;
  /** Null on reader workers. */
  readonly main: MainKnowledge | null;
}

/** True for names that only the main thread can tell magic from stored (spec 5.7). */
function maybeMagic(name: Buffer): boolean {
  return name.subarray(0, 5).toString('latin1') === 'user.' || name.subarray(0, 8).toString('latin1') === 'xfsroot.';
}

export class RepositoryFileSystem implements FileSystem {
  readonly #world: FileSystemWorld;

  constructor(world: FileSystemWorld) {
    this.#world = world;
  }

  revision(): number {
    return this.#world.shared.liveIndex;
  }

  lookup(parent: NodeId, name: Buffer): ReturnType<FileSystem['lookup']> {
    return this.#world.tree.lookup(parent, name);
  }

  attributes(node: NodeId): NodeAttributes {
    return this.#world.tree.attributes(node);
  }

  list(node: NodeId): Listed[] {
    // Views are found by name, never listed.
    if (isViews(node)) return [];
    const { tree } = this.#world;
    const directory = tree.directory(node);
    const listed: Listed[] = [];
    for (let after = 0; ; ) {
      const { children, lastRowid, end } = tree.list(directory, after);
      for (const child of children) listed.push({ name: child.entry.name, attributes: tree.childAttributes(directory, child) });
      if (end) return listed;
      after = lastRowid;
    }
  }

  readlink(node: NodeId): Buffer {
    return this.#world.tree.readlink(node);
  }

  read(node: NodeId, into: Buffer, at: number, offset: number, length: number): number {
    const plan = this.#world.tree.filePlan(node);
    const end = Math.min(plan.size, offset + length);
    let position = offset;
    for (let i = firstPart(plan.parts, offset); position < end; i++) {
      const part = plan.parts[i]!;
      const wanted = Math.min(end, part.offset + part.size) - position;
      const got = this.#world.objects.read(part.need, into, at + (position - offset), position - part.offset, wanted);
      if (got !== wanted) throw new Failure('OBJECT_CORRUPT', `${part.need.what}: the local object is shorter than its row says`);
      position += wanted;
    }
    return Math.max(0, end - offset);
  }

  xattr(node: NodeId, name: Buffer): Buffer | undefined {
    const magic = maybeMagic(name) ? this.#main().magicXattr(node, name.toString('latin1')) : null;
    return magic ?? this.#storedXattrs(node).find((attribute) => attribute.name.equals(name))?.value;
  }

  xattrNames(node: NodeId, uid: number): Buffer[] {
    const magic = isRoot(node) || this.#world.magicEverywhere ? this.#main().magicNames(node, uid) : [];
    return [...this.#storedXattrs(node).map((attribute) => attribute.name), ...magic.map((name) => Buffer.from(name))];
  }

  statfs(): Buffer {
    return this.#main().statfs();
  }

  #main(): MainKnowledge {
    if (this.#world.main === null) throw new AskMain();
    return this.#world.main;
  }

  #storedXattrs(node: NodeId): ReadonlyArray<{ readonly name: Buffer; readonly value: Buffer }> {
    if (node.index === 0 && !isRoot(node)) return [];
    const blob = this.#world.tree.entry(node).entry.xattrs;
    return blob === null ? [] : parseXattrs(blob);
  }
}

/** Index of the part that holds `offset`. */
function firstPart(parts: ReadonlyArray<{ readonly offset: number; readonly size: number }>, offset: number): number {
  let low = 0;
  let high = parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (parts[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
