/**
 * Which files the kernel has open, and how it reads them, as all threads of a file system server see it; only in a mount
 * with `data_path = "passthrough"`. What the numbers mean and why they outlive the server is told in open-files.ts.
 *
 *     words     0 slots that were ever used    1 descriptor of the list    2 bytes in the list
 *     slot      index, rowid, backing id (0: through the server), opens, time of the last open
 *
 * A slot keeps its inode when it is empty again; the main thread makes the table anew when it fills up.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import type { NodeId } from '../../repository/node-id';
import type { SharedState } from '../../repository/shared-state';

/** Inodes that may be given a backing id, each of which holds a file open in the kernel. */
const INODES_MAX = 16_384;
const SLOTS = 2 * INODES_MAX;
/** Slots that may be used before the table is made anew; a quarter stays empty, so that a search is short. */
const SLOTS_USED_MAX = (3 * SLOTS) / 4;
const HEAD_WORDS = 4;
const SLOT_WORDS = 5;

const USED = 0;
const LIST_FD = 1;
const LIST_BYTES = 2;

export interface TableInode extends NodeId {
  readonly backingId: number;
  readonly opens: number;
  /** In the order of `stamp`s given. */
  readonly lastUse: number;
}

export class OpenTable {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #shared: Pick<SharedState, 'locked'>;

  constructor(shared: Pick<SharedState, 'locked'>, buffer = new SharedArrayBuffer((HEAD_WORDS + SLOTS * SLOT_WORDS) * 4)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#shared = shared;
  }

  /**
   * Counts one more opening of an inode that has its way already, and answers its backing id; null: the main thread has to
   * give it one first. The list has the opening before this returns.
   */
  open(node: NodeId, unique: bigint): number | null {
    return this.#shared.locked(() => {
      const at = this.#find(node);
      const id = this.#words[at + 2]!;
      if (!this.#holds(at, node) || (id === 0 && this.#words[at + 3] === 0)) return null;
      return this.#count(at, node, unique);
    });
  }

  /** The first opening of a file that is read through the server; of one that has a way already, one more. */
  openServed(node: NodeId, unique: bigint): number {
    return this.#shared.locked(() => this.#count(this.#take(node), node, unique));
  }

  release(node: NodeId, unique: bigint): void {
    this.#shared.locked(() => {
      this.#append(`release ${unique} ${node.index} ${node.rowid}\n`);
      this.#uncount(node);
    });
  }

  /** Gives an inode that nobody has open a backing id; false when somebody has. */
  bind(node: NodeId, backingId: number, object: string): boolean {
    return this.#shared.locked(() => {
      const at = this.#take(node);
      if (this.#words[at + 3] !== 0) return false;
      this.#append(`id ${backingId} ${node.index} ${node.rowid} ${object}\n`);
      this.#words[at + 2] = backingId;
      return true;
    });
  }

  /** Takes the backing id of an inode away; false when somebody has it open. */
  unbind(node: NodeId): boolean {
    return this.#shared.locked(() => {
      const at = this.#find(node);
      if (!this.#holds(at, node) || this.#words[at + 3] !== 0) return false;
      this.#append(`close ${this.#words[at + 2]} ${node.index} ${node.rowid}\n`);
      this.#words[at + 2] = 0;
      return true;
    });
  }

  /** Inodes that are open or have a backing id. */
  inodes(): TableInode[] {
    const found: TableInode[] = [];
    const words = this.#words;
    for (let at = HEAD_WORDS; at < words.length; at += SLOT_WORDS) {
      if (words[at + 2] === 0 && words[at + 3] === 0) continue;
      found.push({ index: words[at]! >>> 0, rowid: words[at + 1]! >>> 0, backingId: words[at + 2]!, opens: words[at + 3]!, lastUse: words[at + 4]! });
    }
    return found;
  }

  /** True while another inode may be given a backing id; beyond it files are read through the server. */
  get hasRoom(): boolean {
    return this.#words[USED]! < INODES_MAX;
  }

  /** True when the table is to be made anew, which drops empty slots. */
  get isCrowded(): boolean {
    return this.#words[USED]! >= SLOTS_USED_MAX;
  }

  get listBytes(): number {
    return this.#words[LIST_BYTES]!;
  }

  /** For the main thread, inside `locked`: everything anew from these inodes, and from now on into that list. */
  reset(inodes: readonly TableInode[], listFd: number, listBytes: number): void {
    this.#words.fill(0);
    this.#words[LIST_FD] = listFd;
    this.#words[LIST_BYTES] = listBytes;
    for (const inode of inodes) {
      const at = this.#take(inode);
      this.#words[at + 2] = inode.backingId;
      this.#words[at + 3] = inode.opens;
      this.#words[at + 4] = inode.lastUse;
    }
  }

  /** One opening less, without a line in the list. */
  #uncount(node: NodeId): void {
    const at = this.#find(node);
    if (this.#holds(at, node) && this.#words[at + 3]! > 0) this.#words[at + 3]! -= 1;
  }

  #append(line: string): void {
    const fd = this.#words[LIST_FD]!;
    if (fs.writeSync(fd, line) !== line.length) {
      // The next line would go on where this one ended, and no successor could read the list.
      fs.ftruncateSync(fd, this.#words[LIST_BYTES]!);
      throw new Failure('NO_SPACE', 'the list of open files of this mount has no room', { next: 'free space in run_dir' });
    }
    this.#words[LIST_BYTES]! += line.length;
  }

  #count(at: number, node: NodeId, unique: bigint): number {
    const id = this.#words[at + 2]!;
    this.#append(`open ${unique} ${node.index} ${node.rowid} ${id}\n`);
    this.#words[at + 3]! += 1;
    this.#words[at + 4] = Math.floor(performance.now() / 1000);
    return id;
  }

  #holds(at: number, node: NodeId): boolean {
    return this.#words[at]! >>> 0 === node.index && this.#words[at + 1]! >>> 0 === node.rowid;
  }

  /** The inode's slot, or the empty one where it would be. Index 0 and rowid 0 are no file's. */
  #find(node: NodeId): number {
    const words = this.#words;
    let slot = (Math.imul(node.rowid, 0x9e3779b1) ^ Math.imul(node.index, 0x85ebca6b)) >>> 0;
    for (;;) {
      slot %= SLOTS;
      const at = HEAD_WORDS + slot * SLOT_WORDS;
      if ((words[at] === 0 && words[at + 1] === 0) || this.#holds(at, node)) return at;
      slot += 1;
    }
  }

  #take(node: NodeId): number {
    const at = this.#find(node);
    if (!this.#holds(at, node)) {
      this.#words[USED]! += 1;
      this.#words[at] = node.index;
      this.#words[at + 1] = node.rowid;
    }
    return at;
  }
}
