/**
 * Files that the kernel has open, in a mount with `data_path = "passthrough"`: which of them it reads by itself, through a
 * backing id, and which through this server.
 *
 * The kernel's rule: one way, and one backing id, for an inode as long as it is open anywhere; a reply that breaks it is
 * an EIO for the reader. Both therefore outlive the server in a file of the mount's folder, appended to before a reply
 * uses what it says (and not synced: a mount does not outlive its host). A torn last line was used by no reply.
 *
 *     id <backing id> <index> <rowid> <object>\n        the inode is read through the id from now on
 *     open <unique> <index> <rowid> <backing id>\n       0: through the server
 *     release <unique> <index> <rowid>\n
 *     close <backing id> <index> <rowid>\n
 *
 * Reader workers open and release by themselves what has its way already (open-table.ts); the rest is done here, on the
 * main thread. A successor gets OPEN and RELEASE a second time when its predecessor died between the line and the reply:
 * they are known by their unique. An id whose line was never written is lost to us until the mount goes: the kernel has no
 * way to ask for it, and it must never be closed too early.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { objectName } from '../../cache/object-name';
import { Failure } from '../../error';
import type { Logger } from '../../log/logger';
import type { ObjectNeed } from '../../repository/missing';
import type { NodeId } from '../../repository/node-id';
import type { SharedState } from '../../repository/shared-state';
import { OpenTable } from './open-table';
import type { TableInode } from './open-table';

/** Ids of files that nobody has open any more, kept since programs open the same files again and again. */
const IDLE_IDS_MAX = 2_048;
/** The list lies in memory: from this size on it is written anew whenever it has doubled. */
const LIST_BYTES = 2 << 20;
/** What a damaged or hostile list may hold at most: it is read whole. */
const LIST_BYTES_READ_MAX = 64 << 20;
/** More requests than the kernel can have given to a dead server: 64 readers, and `max_background`. */
const UNIQUES_KEPT = 4_096;
const RESENT = 1n << 63n;
const LINE = /^(id|open|release|close) (\d{1,20}) (\d{1,10}) (\d{1,10})(?: (\S+))?$/;

/** The file must have a backing id before it can be opened: `OpenFiles.acquire`, then ask again. */
export class NeedsBacking extends Error {
  constructor(
    readonly node: NodeId,
    readonly need: ObjectNeed,
  ) {
    super(`${need.what} has no backing id yet`);
  }
}

/** Gives files their way to be read, on the main thread. */
export interface Opener {
  /** Answers the backing id, 0 for none; throws `Missing`, and `NeedsBacking`. */
  open(node: NodeId, unique: bigint): number;
  release(node: NodeId, unique: bigint): void;
}

/** Who registers files with the kernel, by the names of objects in the cache. */
export interface Backing {
  /** Null: not now, or not for this file (a stacked file system, the keeper is gone); it is read through the server. */
  open(object: string): Promise<number | null>;
  close(id: number): Promise<void>;
}

interface Inode {
  readonly node: NodeId;
  backingId: number;
  opens: number;
}

function key(node: NodeId): string {
  return `${node.index} ${node.rowid}`;
}

/** True for a request that a predecessor had taken. */
export function isResent(unique: bigint): boolean {
  return (unique & RESENT) !== 0n;
}

export class OpenFiles {
  /** For the reader workers. */
  readonly table: OpenTable;
  readonly #file: string;
  readonly #backing: Backing;
  readonly #log: Logger;
  readonly #shared: SharedState;
  #fd: number;
  #rewriteAtBytes = LIST_BYTES;
  /** Objects behind the backing ids, by inode. */
  readonly #objects = new Map<string, string>();
  /** Requests of the kernel that a predecessor has carried out. */
  readonly #done: Set<string>;
  readonly #acquiring = new Map<string, Promise<void>>();
  /** Inodes that got no id when they were to be opened: the next OPEN goes through the server. */
  readonly #refused = new Set<string>();

  /** Goes on where a predecessor ended. The caller holds the lock of the mount. */
  constructor(dir: string, shared: SharedState, backing: Backing, log: Logger) {
    this.#file = path.join(dir, 'opens');
    this.#backing = backing;
    this.#log = log;
    this.#shared = shared;
    this.table = new OpenTable(shared);
    this.#fd = fs.openSync(this.#file, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW, 0o600);
    const lines = this.#lines();
    this.#done = new Set(lastRequests(lines));
    this.table.reset(this.#replay(lines), this.#fd, 0);
    this.#rewrite();
  }

  /**
   * Opens the file for the request `unique`, and answers the backing id, 0 for none; asked again for the same request it
   * answers the same. `need`: the one object that holds the file, local now; null for a file that the kernel never reads
   * alone (chunked, empty, not in the cache). Throws `NeedsBacking`.
   */
  open(node: NodeId, need: ObjectNeed | null, unique: bigint): number {
    const request = unique & ~RESENT;
    if (isResent(unique) && this.#done.delete(String(request))) return this.table.inodes().find((inode) => key(inode) === key(node))?.backingId ?? 0;
    this.#keepRoom();
    const known = this.table.open(node, request);
    if (known !== null) return known;
    if (need !== null && !this.#refused.delete(key(node)) && this.table.hasRoom) throw new NeedsBacking(node, need);
    return this.table.openServed(node, request);
  }

  release(node: NodeId, unique: bigint): void {
    const request = unique & ~RESENT;
    if (isResent(unique) && this.#done.delete(String(request))) return;
    this.table.release(node, request);
  }

  /** Gets the inode an id, or the certainty that it gets none; one at a time for each. */
  acquire({ node, need }: NeedsBacking): Promise<void> {
    const name = key(node);
    const running = this.#acquiring.get(name);
    if (running !== undefined) return running;
    const work = this.#acquire(node, objectName(need)).finally(() => this.#acquiring.delete(name));
    this.#acquiring.set(name, work);
    return work;
  }

  /** Objects that the kernel has open, by their names in the cache: their space is in use, whatever becomes of their names. */
  openObjects(): string[] {
    return this.table.inodes().flatMap((inode) => (inode.opens > 0 && inode.backingId !== 0 ? [this.#objects.get(key(inode)) ?? ''] : []));
  }

  /**
   * Now and then: gives back ids of files that nobody has open, when `gone` is true for their object, so that the disk gets
   * its space back, and those longest unused beyond the bound.
   */
  tidy(gone: (object: string) => boolean): void {
    const idle = this.table.inodes().filter((inode) => inode.opens === 0);
    idle.sort((a, b) => a.lastUse - b.lastUse);
    let over = idle.length - IDLE_IDS_MAX;
    for (const inode of idle) if (over-- > 0 || gone(this.#objects.get(key(inode)) ?? '')) this.#close(inode);
    if (!this.table.hasRoom) this.#rewrite();
  }

  get counts(): { readonly opens: number; readonly backingIds: number } {
    const inodes = this.table.inodes();
    return { opens: inodes.reduce((sum, inode) => sum + inode.opens, 0), backingIds: inodes.filter((inode) => inode.backingId !== 0).length };
  }

  async #acquire(node: NodeId, object: string): Promise<void> {
    const id = await this.#backing.open(object);
    if (id === null) {
      this.#refused.add(key(node));
      return;
    }
    // Whoever wants to open it waits here too, unless the table had no room for another id meanwhile.
    if (this.table.bind(node, id, object)) this.#objects.set(key(node), object);
    else await this.#backing.close(id);
  }

  #close(inode: TableInode): void {
    if (!this.table.unbind(inode)) return;
    this.#objects.delete(key(inode));
    this.#backing.close(inode.backingId).catch((error: unknown) => this.#log.warn('a backing id was not given back', { id: inode.backingId, error }));
  }

  #keepRoom(): void {
    if (this.table.listBytes > this.#rewriteAtBytes || this.table.isCrowded) this.#rewrite();
    if (this.table.isCrowded) throw new Failure('RESOURCE_EXHAUSTED', 'too many files of this mount are open at once', { next: 'use data_path = "server"' });
  }

  /** Temp file and rename: a successor reads the old list or the new one, which say the same. */
  #rewrite(): void {
    this.#shared.locked(() => {
      const inodes = this.table.inodes();
      // What was done for requests that a successor may see again comes first, and changes nothing when it is read.
      const lines = lastRequests(this.#lines()).map((unique) => `release ${unique} 0 0\n`);
      for (const inode of inodes) {
        if (inode.backingId !== 0) lines.push(`id ${inode.backingId} ${key(inode)} ${this.#objects.get(key(inode)) ?? ''}\n`);
        for (let i = 0; i < inode.opens; i++) lines.push(`open 0 ${key(inode)} ${inode.backingId}\n`);
      }
      const temp = `${this.#file}.tmp`;
      fs.rmSync(temp, { force: true });
      const fd = fs.openSync(temp, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW, 0o600);
      const text = lines.join('');
      try {
        // All of it or ENOSPC; write(2) may also write a part.
        fs.writeFileSync(fd, text);
        fs.renameSync(temp, this.#file);
      } catch (error) {
        fs.closeSync(fd);
        throw error;
      }
      fs.closeSync(this.#fd);
      this.#fd = fd;
      this.table.reset(inodes, fd, text.length);
      this.#rewriteAtBytes = Math.max(LIST_BYTES, 2 * text.length);
    });
  }

  #lines(): string[] {
    const size = fs.fstatSync(this.#fd).size;
    if (size > LIST_BYTES_READ_MAX) throw new Failure('STATE_DAMAGED', `the list of open files of this mount has ${size} bytes`, { next: 'unmount the repository and mount it again' });
    const bytes = Buffer.alloc(size);
    fs.readSync(this.#fd, bytes, 0, size, 0);
    const lines = bytes.toString('latin1', 0, bytes.lastIndexOf(0x0a) + 1).split('\n');
    lines.pop();
    return lines;
  }

  /** What a predecessor's list says. */
  #replay(lines: readonly string[]): TableInode[] {
    const inodes = new Map<string, Inode>();
    for (const line of lines) {
      const fields = LINE.exec(line);
      if (fields === null) throw damaged(line);
      const [, what, first, index, rowid, last = ''] = fields;
      const node = { index: Number(index), rowid: Number(rowid) };
      const name = key(node);
      const inode = inodes.get(name);
      switch (what) {
        case 'id':
          inodes.set(name, { node, backingId: Number(first), opens: 0 });
          this.#objects.set(name, last);
          break;
        case 'open':
          if (Number(last) !== (inode?.backingId ?? 0)) throw damaged(line);
          if (inode === undefined) inodes.set(name, { node, backingId: 0, opens: 1 });
          else inode.opens += 1;
          break;
        case 'release':
          if (inode === undefined) break;
          inode.opens -= 1;
          if (inode.opens === 0 && inode.backingId === 0) inodes.delete(name);
          break;
        default:
          inodes.delete(name);
          this.#objects.delete(name);
      }
    }
    return [...inodes.values()].map(({ node, backingId, opens }) => ({ ...node, backingId, opens, lastUse: 0 }));
  }
}

/** The kernel's last requests that the list tells of. */
function lastRequests(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /^(?:open|release) ([1-9]\d*) /.exec(line)?.[1] ?? []).slice(-UNIQUES_KEPT);
}

function damaged(line: string): Failure {
  return new Failure('STATE_DAMAGED', `the list of open files of this mount has a line ${JSON.stringify(line.slice(0, 100))}`, { next: 'unmount the repository and mount it again' });
}
