/**
 * From one request of the kernel to its reply, synchronously. Every thread of a file system server has an engine: reader
 * workers answer with theirs all that is local; the main thread, which may wait, answers the rest with its own.
 *
 * What stops an engine is thrown:
 *   Missing      an object is not in the cache; fetch it and ask again
 *   AskMain      only the main thread knows (magic attributes, statfs, interrupts)
 *   Failure      the reader gets its errno
 */
import { constants } from 'node:os';
import type { Lifetime } from '../../repository/tree';
import { isRoot, isViews } from '../../repository/node-id';
import type { NodeId } from '../../repository/node-id';
import { ATTR_REPLY_BYTES, ENTRY_BYTES, writeAttrReply, writeEntry, writeNegativeEntry } from '../kernel/attributes';
import type { Validity } from '../kernel/attributes';
import { direntBytes, writeDirent } from '../kernel/directory';
import { IN_HEADER_BYTES, MAX_READ_BYTES, Op, OUT_HEADER_BYTES, readHeader, readName, writeReplyHeader } from '../kernel/protocol';
import type { RequestHeader } from '../kernel/protocol';
import { OPEN_REPLY_BYTES, writeOpenReply } from '../kernel/open';
import { AskMain } from '../file-system';
import { isResent } from './open-files';
import type { Opener } from './open-files';
import type { OpenTable } from './open-table';
import { RepositoryFileSystem } from './repository-file-system';
import type { FileSystemWorld } from './repository-file-system';

const { ENODATA, ENOSYS, ERANGE, ENAMETOOLONG, EROFS } = constants.errno;

/** Content under a node id never changes: ten years, which outlives every mount. */
export const FOREVER_MS = 10 * 365 * 86_400_000;
const NAME_BYTES_MAX = 255;
const TWO_32 = 4294967296;
const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');

export interface EngineWorld extends FileSystemWorld {
  readonly now: () => number;
  /** True when the kernel accepts ENOSYS for OPENDIR (7.29); else every OPENDIR is answered. */
  readonly noOpendir: boolean;
  /** Files that are open, when the kernel reads by itself what it can; null when nothing is ever opened. */
  readonly openTable: OpenTable | null;
  /** Who gives a file its way to be read; null on reader workers, which open only what has one. */
  readonly opener: Opener | null;
}

export class Engine {
  /** The reply of the last `answer`; its first bytes up to the length returned are to be written to the device. */
  readonly reply = Buffer.alloc(OUT_HEADER_BYTES + MAX_READ_BYTES);
  readonly #world: EngineWorld;
  readonly #files: RepositoryFileSystem;
  /** What was left of the live tree's time before this request looked at the live tree (see SharedState.setLive). */
  #liveMs = 0;

  constructor(world: EngineWorld) {
    this.#world = world;
    this.#files = new RepositoryFileSystem(world);
  }

  /** Answers one request. Returns the reply's length in `reply`, 0 when the kernel expects none. */
  answer(request: Buffer): number {
    const header = readHeader(request);
    const node: NodeId = { index: header.index, rowid: header.rowid };
    if (isRoot(node)) this.#liveMs = Math.min(FOREVER_MS, this.#world.shared.liveRemainingMs(this.#world.now()));
    switch (header.opcode) {
      case Op.LOOKUP:
        return this.#lookup(header, node, readName(request, IN_HEADER_BYTES));
      case Op.GETATTR:
        return this.#getattr(header, node);
      case Op.READLINK:
        return this.#bytes(header, this.#world.tree.readlink(node));
      case Op.READ:
        return this.#read(header, node, request);
      case Op.READDIR:
      case Op.READDIRPLUS:
        return this.#list(header, node, request);
      case Op.GETXATTR:
        return this.#getxattr(header, node, request);
      case Op.LISTXATTR:
        return this.#listxattr(header, node, request);
      case Op.STATFS:
        return this.#bytes(header, this.#files.statfs());
      case Op.FORGET:
      case Op.BATCH_FORGET:
        return 0;
      case Op.INTERRUPT:
        // A local request is answered before its interrupt can be read; one that waits for the network is with the main thread.
        throw new AskMain();
      case Op.OPENDIR:
        if (this.#world.noOpendir) return this.#error(header, ENOSYS);
        return this.#bytes(header, Buffer.alloc(16));
      case Op.RELEASEDIR:
      case Op.DESTROY:
        return this.#done(header, 0);
      case Op.RELEASE:
        return this.#release(header, node);
      case Op.OPEN:
        return this.#open(header, node);
      case Op.FLUSH:
        return this.#error(header, ENOSYS);
      default:
        return this.#error(header, isChange(header.opcode) ? EROFS : ENOSYS);
    }
  }

  /** Puts an errno into `reply`. */
  fail(request: Buffer, errno: number): number {
    return this.#error(readHeader(request), errno);
  }

  #open(header: RequestHeader, node: NodeId): number {
    const { openTable, opener } = this.#world;
    // Without OPEN the kernel keeps what it has read and asks nothing when a file is opened again.
    if (openTable === null) return this.#error(header, ENOSYS);
    const unique = header.unique.readBigUInt64LE(0);
    const known = opener === null && !isResent(unique) ? openTable.open(node, unique) : null;
    writeOpenReply(this.reply, OUT_HEADER_BYTES, known ?? this.#opener().open(node, unique));
    return this.#done(header, OPEN_REPLY_BYTES);
  }

  #release(header: RequestHeader, node: NodeId): number {
    const { openTable, opener } = this.#world;
    const unique = header.unique.readBigUInt64LE(0);
    if (openTable === null) return this.#done(header, 0);
    if (opener === null && !isResent(unique)) openTable.release(node, unique);
    else this.#opener().release(node, unique);
    return this.#done(header, 0);
  }

  #opener(): Opener {
    if (this.#world.opener === null) throw new AskMain();
    return this.#world.opener;
  }

  #error(header: RequestHeader, errno: number): number {
    writeReplyHeader(this.reply, OUT_HEADER_BYTES, errno, header.unique);
    return OUT_HEADER_BYTES;
  }

  #done(header: RequestHeader, bodyBytes: number): number {
    writeReplyHeader(this.reply, OUT_HEADER_BYTES + bodyBytes, 0, header.unique);
    return OUT_HEADER_BYTES + bodyBytes;
  }

  #bytes(header: RequestHeader, body: Buffer): number {
    body.copy(this.reply, OUT_HEADER_BYTES);
    return this.#done(header, body.length);
  }

  #lifetimeMs(lifetime: Lifetime): number {
    if (lifetime === 'forever') return FOREVER_MS;
    return lifetime === 'never' ? 0 : this.#liveMs;
  }

  #validity(lifetime: Lifetime): Validity {
    return { entryMs: this.#lifetimeMs(lifetime), attributesMs: FOREVER_MS };
  }

  #lookup(header: RequestHeader, parent: NodeId, name: Buffer): number {
    if (name.length > NAME_BYTES_MAX) return this.#error(header, ENAMETOOLONG);
    const found = this.#world.tree.lookup(parent, name);
    if (found.node === null) writeNegativeEntry(this.reply, OUT_HEADER_BYTES, this.#lifetimeMs(found.lifetime));
    else writeEntry(this.reply, OUT_HEADER_BYTES, found.node.index, found.node.rowid, this.#validity(found.lifetime), found.attributes);
    return this.#done(header, ENTRY_BYTES);
  }

  #getattr(header: RequestHeader, node: NodeId): number {
    const attributes = this.#world.tree.attributes(node);
    writeAttrReply(this.reply, OUT_HEADER_BYTES, isRoot(node) ? this.#lifetimeMs('live') : FOREVER_MS, attributes);
    return this.#done(header, ATTR_REPLY_BYTES);
  }

  #read(header: RequestHeader, node: NodeId, request: Buffer): number {
    const offset = request.readUInt32LE(IN_HEADER_BYTES + 8) + request.readUInt32LE(IN_HEADER_BYTES + 12) * TWO_32;
    const wanted = Math.min(request.readUInt32LE(IN_HEADER_BYTES + 16), MAX_READ_BYTES);
    return this.#done(header, this.#files.read(node, this.reply, OUT_HEADER_BYTES, offset, wanted));
  }

  /**
   * Cursors: 1 after `.`, 2 after `..`, rowid + 2 after a row; so a listing resumes anywhere, in any process. Those of the
   * root carry the index of the revision too: a listing begun in one revision ends in it, and then answers names only,
   * since an entry of the old revision must not be put back into the kernel's cache.
   */
  #list(header: RequestHeader, node: NodeId, request: Buffer): number {
    const { tree, shared } = this.#world;
    const cursorHigh = request.readUInt32LE(IN_HEADER_BYTES + 12);
    const size = Math.min(request.readUInt32LE(IN_HEADER_BYTES + 16), MAX_READ_BYTES);
    const plus = header.opcode === Op.READDIRPLUS;
    if (isViews(node)) return this.#done(header, 0);
    const root = isRoot(node);
    const live = shared.liveIndex;
    const cursor = request.readUInt32LE(IN_HEADER_BYTES + 8) + (root ? 0 : cursorHigh * TWO_32);
    const index = root ? (cursorHigh === 0 ? live : cursorHigh) : 0;
    const outdated = root && index !== live;
    const directory = root ? tree.rootDirectory(index) : tree.directory(node);
    const lifetime: Lifetime = root ? 'live' : 'forever';
    const limit = OUT_HEADER_BYTES + size;
    let at = OUT_HEADER_BYTES;

    const put = (name: Buffer, inoIndex: number, inoRowid: number, mode: number, next: number, entry: (() => void) | null): boolean => {
      if (at + direntBytes(name.length, plus) > limit) return false;
      if (plus) {
        if (entry === null) writeNegativeEntry(this.reply, at, 0);
        else entry();
        at += ENTRY_BYTES;
      }
      writeDirent(this.reply, at, inoIndex, inoRowid, { high: root ? index : Math.floor(next / TWO_32), low: next % TWO_32 }, mode, name);
      at += direntBytes(name.length, false);
      return true;
    };

    const own = root ? { inoIndex: 0, inoRowid: 1 } : tree.attributes(node);
    if (cursor < 1 && !put(DOT, own.inoIndex, own.inoRowid, 0o040000, 1, null)) return this.#done(header, 0);
    if (cursor < 2 && !put(DOT_DOT, own.inoIndex, own.inoRowid, 0o040000, 2, null)) return this.#done(header, at - OUT_HEADER_BYTES);
    let after = Math.max(0, cursor - 2);
    for (;;) {
      const { children, lastRowid, end } = tree.list(directory, after);
      for (const child of children) {
        // The root's cursor has 32 bits for the row; only a planted catalog has rows this high.
        if (root && child.rowid > TWO_32 - 3) continue;
        const attributes = tree.childAttributes(directory, child);
        const fits = put(child.entry.name, attributes.inoIndex, attributes.inoRowid, attributes.mode, child.rowid + 2, outdated ? null : () => writeEntry(this.reply, at, child.node.index, child.node.rowid, this.#validity(lifetime), attributes));
        if (!fits) return this.#done(header, at - OUT_HEADER_BYTES);
      }
      if (end) return this.#done(header, at - OUT_HEADER_BYTES);
      after = lastRowid;
    }
  }

  #getxattr(header: RequestHeader, node: NodeId, request: Buffer): number {
    const size = request.readUInt32LE(IN_HEADER_BYTES);
    const name = readName(request, IN_HEADER_BYTES + 8);
    const value = this.#files.xattr(node, name);
    if (value === undefined) return this.#error(header, ENODATA);
    return this.#sized(header, size, value);
  }

  #listxattr(header: RequestHeader, node: NodeId, request: Buffer): number {
    const size = request.readUInt32LE(IN_HEADER_BYTES);
    const names = this.#files.xattrNames(node, header.uid);
    return this.#sized(header, size, Buffer.concat(names.flatMap((name) => [name, Buffer.from([0])])));
  }

  /** Attribute replies: with size 0 the caller asks how long the value is. */
  #sized(header: RequestHeader, size: number, value: Buffer): number {
    if (size === 0) {
      const body = Buffer.alloc(8);
      body.writeUInt32LE(value.length, 0);
      return this.#bytes(header, body);
    }
    return value.length > size ? this.#error(header, ERANGE) : this.#bytes(header, value);
  }
}

/** Requests that would change something; the mount is read-only, so the kernel sends none of them. */
function isChange(opcode: number): boolean {
  return [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 51].includes(opcode);
}
