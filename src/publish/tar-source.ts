/**
 * A tar archive, plain or gzip-compressed, as a source. The headers are read once into an index on disk (so that an
 * archive may have its entries in any order and any number), the bytes of files are read from the archive when they are
 * published. What is compressed, or comes through a pipe, is unpacked to a temporary file first: disk, not memory.
 *
 * What an archive means:
 * - Names are taken from the root on: `./a`, `a` and `/a` are one; `..` is refused, since nobody means it well.
 * - Of entries with one name the last wins. Directories that are not in it have mode 0755, owner 0:0, and the time of the
 *   first entry below them.
 * - An entry below a symbolic link or a file is refused: programs differ in what they make of it. Links are only rows of
 *   a catalog here, so none of them leads out of anything.
 * - A hard link needs its target earlier in the archive.
 * - `.wh.` names are names: only the layers of an image give them a meaning.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import Sqlite from 'better-sqlite3';
import { Failure } from '../error';
import { isFileName, MAX_TARGET_BYTES } from '../cvmfs/catalog-entry';
import { parseXattrs, serializeXattrs } from '../cvmfs/xattr-blob';
import type { EntryType } from '../repository/reader';
import { baseName, joinPath, parentPath } from './catalog-writer';
import { shownPath } from './source';
import type { SourceEntry, SourceTree, Warn } from './source';
import { readTar } from './tar-reader';
import type { TarMember } from './tar-reader';

const EMPTY = Buffer.alloc(0);
const READ_AHEAD_BYTES = 1 << 20;
const GZIP_MAGIC = 0x1f8b;
const MAX_ENTRIES = 50_000_000;
/** Bytes a compressed archive may unpack to: a bomb ends here, if the disk does not end before. */
const DEFAULT_MAX_UNPACKED_BYTES = 2 ** 40;

export interface TarSourceOptions {
  /** Folder for the index and for what has to be unpacked; the caller removes it. */
  readonly workDir: string;
  readonly maxUnpackedBytes?: number;
  /** Default true. */
  readonly xattrs?: boolean;
}

interface Row {
  readonly path: Buffer;
  readonly type: EntryType;
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly mtimeNs: number;
  readonly target: Buffer | null;
  readonly device: bigint | number;
  readonly xattrs: Buffer | null;
  readonly inode: number;
  readonly links: number;
  readonly size: number;
  readonly offset: number;
}

export async function openTar(file: string, options: TarSourceOptions, warn: Warn): Promise<TarSource> {
  const shown = `tar:${file}`;
  let plain: string;
  try {
    plain = await unpacked(file, shown, options);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') throw new Failure('NOT_FOUND', `the archive ${file} does not exist`);
    throw Failure.from(err, `cannot read ${shown}`);
  }
  const source = new TarSource(shown, plain, options);
  try {
    source.index(warn);
  } catch (err) {
    source.close();
    throw err;
  }
  return source;
}

/** The archive as a plain file: itself, or a copy in the work folder. */
async function unpacked(file: string, shown: string, options: TarSourceOptions): Promise<string> {
  const stat = await fs.promises.stat(file);
  if (stat.isDirectory()) throw new Failure('INVALID_ARGUMENT', `${file} is a directory`, { next: `give dir:${file}` });
  let compressed = false;
  if (stat.isFile()) {
    const handle = await fs.promises.open(file, 'r');
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(6), 0, 6, 0);
    await handle.close();
    compressed = bytesRead >= 2 && buffer.readUInt16BE(0) === GZIP_MAGIC;
    if (!compressed && /^(fd377a58|28b52ffd|425a68)/.test(buffer.toString('hex'))) {
      throw new Failure('UNIMPLEMENTED', `${shown} is compressed with something else than gzip`, { next: 'unpack it first' });
    }
    if (!compressed) return file;
  }
  const copy = path.join(options.workDir, 'archive.tar');
  const limit = options.maxUnpackedBytes ?? DEFAULT_MAX_UNPACKED_BYTES;
  let bytes = 0;
  const counted = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      bytes += piece.length;
      if (bytes > limit) throw new Failure('RESOURCE_EXHAUSTED', `${shown} unpacks to more than ${limit} bytes`);
      yield piece;
    }
  };
  try {
    if (compressed) await pipeline(fs.createReadStream(file), zlib.createGunzip(), counted, fs.createWriteStream(copy));
    else await pipeline(fs.createReadStream(file), counted, fs.createWriteStream(copy));
  } catch (err) {
    if (err instanceof Failure) throw err;
    if (/^Z_/.test(String((err as { code?: unknown }).code)))
      throw new Failure('INVALID_ARGUMENT', `${shown} is not a sound gzip file: ${(err as Error).message}`, { cause: err });
    throw err;
  }
  return copy;
}

export class TarSource implements SourceTree {
  private readonly db: Sqlite.Database;
  private readonly fd: number;
  private readonly archive: Buffer;
  private readonly statements;
  private entries = 0;

  constructor(
    readonly shown: string,
    plain: string,
    private readonly options: TarSourceOptions,
  ) {
    this.archive = Buffer.from(path.resolve(plain));
    this.db = new Sqlite(path.join(options.workDir, 'tar-index.sqlite'));
    this.db.pragma('journal_mode = OFF');
    this.db.pragma('synchronous = OFF');
    // Paths of a directory's entries lie together and in byte order: (parent, name) is the key.
    this.db.exec(`
      CREATE TABLE entry (parent BLOB, name BLOB, type TEXT, permissions INTEGER, uid INTEGER, gid INTEGER, mtime INTEGER, mtimeNs INTEGER,
        target BLOB, device INTEGER, xattrs BLOB, inode INTEGER, PRIMARY KEY (parent, name)) WITHOUT ROWID;
      CREATE TABLE inode (id INTEGER PRIMARY KEY, size INTEGER, offset INTEGER, links INTEGER);
      BEGIN`);
    const joined = `SELECT parent, name, type, permissions, uid, gid, mtime, mtimeNs, target, device, xattrs, inode, links, size, offset FROM entry JOIN inode ON inode.id = entry.inode`;
    this.statements = {
      get: this.db.prepare(`${joined} WHERE parent = ? AND name = ?`),
      list: this.db.prepare(`${joined} WHERE parent = ? AND name > zeroblob(0) ORDER BY name`),
      type: this.db.prepare('SELECT type FROM entry WHERE parent = ? AND name = ?').pluck(),
      put: this.db.prepare('INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
      inode: this.db.prepare('INSERT INTO inode (size, offset, links) VALUES (?, ?, 1)'),
      link: this.db.prepare('UPDATE inode SET links = links + ? WHERE id = ?'),
      remove: this.db.prepare('DELETE FROM entry WHERE parent = ? AND name = ?'),
      // All below a directory: its own path as parent, or a parent that begins with it and a slash ('/' + 1 = '0').
      below: this.db.prepare('DELETE FROM entry WHERE parent = $path OR (parent >= $low AND parent < $high)'),
    };
    this.fd = fs.openSync(plain, 'r');
  }

  /** Reads all headers. */
  index(warn: Warn): void {
    let absolute = false;
    for (const member of readTar(this.shown, fs.fstatSync(this.fd).size, this.reader())) {
      this.entries += 1;
      if (this.entries > MAX_ENTRIES) throw new Failure('RESOURCE_EXHAUSTED', `${this.shown} has more than ${MAX_ENTRIES} entries`);
      if (member.name[0] === 0x2f && !absolute) {
        absolute = true;
        warn(`${this.shown}: the leading / of ${shownPath(member.name)} and others is dropped`);
      }
      this.add(member);
    }
    if (this.find(EMPTY) === undefined) this.imply(EMPTY, 0);
    this.db.exec('COMMIT');
  }

  root(): SourceEntry {
    const entry = this.again(EMPTY);
    if (entry === undefined) throw new Failure('INTERNAL', `${this.shown} has no root`);
    return entry;
  }

  list(directory: Buffer): SourceEntry[] {
    return (this.statements.list.all(directory) as Row[]).map((row) => this.entry(row));
  }

  again(at: Buffer): SourceEntry | undefined {
    const row = this.find(at);
    return row === undefined ? undefined : this.entry(row);
  }

  changedSince(): boolean {
    return false;
  }

  close(): void {
    this.db.close();
    fs.closeSync(this.fd);
  }

  private add(member: TarMember): void {
    const at = this.normal(member.name);
    if (at.length === 0 && member.type !== 'directory') throw this.refuse(member.name, 'it is the root, and no directory');
    this.makeParents(at, member.mtime);
    const present = this.find(at);
    if (member.type === 'hardlink') {
      const target = this.normal(member.link);
      const original = this.find(target);
      if (original === undefined) throw this.refuse(member.name, `it is a hard link to ${shownPath(target)}, which is not in the archive before it`);
      if (original.type === 'directory') throw this.refuse(member.name, `it is a hard link to the directory ${shownPath(target)}`);
      if (target.equals(at)) return;
      if (present !== undefined) this.forget(at, present);
      this.statements.link.run(1, original.inode);
      this.put(at, original, original.inode);
      return;
    }
    // A directory that comes again, or after its entries, keeps them and gets the new attributes.
    if (present !== undefined && !(present.type === 'directory' && member.type === 'directory')) this.forget(at, present);
    if (member.type === 'symlink' && (member.link.length === 0 || member.link.length > MAX_TARGET_BYTES)) {
      throw this.refuse(member.name, `a symbolic link has a target of 1 to ${MAX_TARGET_BYTES} bytes`);
    }
    const inode = Number(this.statements.inode.run(member.size, member.dataOffset).lastInsertRowid);
    this.put(
      at,
      {
        type: member.type,
        permissions: member.permissions,
        uid: member.uid,
        gid: member.gid,
        mtime: member.mtime,
        mtimeNs: member.mtimeNs,
        target: member.type === 'symlink' ? member.link : null,
        device: member.device,
        xattrs: this.xattrs(member),
      },
      inode,
    );
  }

  private xattrs(member: TarMember): Buffer | null {
    if (this.options.xattrs === false || member.xattrs.length === 0) return null;
    try {
      return serializeXattrs(member.xattrs);
    } catch (err) {
      throw this.refuse(member.name, Failure.from(err).message);
    }
  }

  private put(
    at: Buffer,
    row: Pick<Row, 'type' | 'permissions' | 'uid' | 'gid' | 'mtime' | 'mtimeNs' | 'target' | 'device' | 'xattrs'>,
    inode: number,
  ): void {
    const [parent, name] = place(at);
    this.statements.put.run(
      parent,
      name,
      row.type,
      row.permissions,
      row.uid,
      row.gid,
      row.mtime,
      row.mtimeNs,
      row.target,
      row.device,
      row.xattrs,
      inode,
    );
  }

  private forget(at: Buffer, row: Row): void {
    const [parent, name] = place(at);
    this.statements.link.run(-1, row.inode);
    this.statements.remove.run(parent, name);
    if (row.type !== 'directory') return;
    this.statements.below.run({ path: at, low: Buffer.concat([at, Buffer.from('/')]), high: Buffer.concat([at, Buffer.from('0')]) });
  }

  private makeParents(at: Buffer, mtime: number): void {
    const missing: Buffer[] = [];
    for (let parent = at; parent.length > 0;) {
      parent = parentPath(parent);
      const type = this.statements.type.get(...place(parent)) as EntryType | undefined;
      if (type === 'directory') break;
      if (type !== undefined) throw this.refuse(at, `it lies below ${shownPath(parent)}, which is a ${type}`);
      missing.push(Buffer.from(parent));
    }
    for (const parent of missing.reverse()) this.imply(parent, mtime);
  }

  private imply(at: Buffer, mtime: number): void {
    const inode = Number(this.statements.inode.run(0, 0).lastInsertRowid);
    this.put(at, { type: 'directory', permissions: 0o755, uid: 0, gid: 0, mtime, mtimeNs: 0, target: null, device: 0, xattrs: null }, inode);
  }

  private find(at: Buffer): Row | undefined {
    return this.statements.get.get(...place(at)) as Row | undefined;
  }

  private entry(row: Row & { readonly name?: Buffer }): SourceEntry {
    const { type } = row;
    return {
      name: row.name ?? EMPTY,
      type,
      permissions: row.permissions,
      uid: row.uid,
      gid: row.gid,
      size: type === 'directory' ? 4096 : row.size,
      mtime: row.mtime,
      mtimeNs: row.mtimeNs,
      xattrs: row.xattrs === null ? [] : parseXattrs(row.xattrs),
      ...(row.target === null ? {} : { target: row.target }),
      ...(type === 'character-device' || type === 'block-device' ? { device: BigInt(row.device) } : {}),
      ...(type !== 'directory' && row.links > 1 ? { link: { file: String(row.inode), count: row.links } } : {}),
      ...(type === 'file' ? { content: { file: this.archive, offset: row.offset, length: row.size } } : {}),
    };
  }

  /** `/a/b` or, for the root, nothing. */
  private normal(name: Buffer): Buffer {
    let at: Buffer = EMPTY;
    for (let start = 0; start <= name.length;) {
      const slash = name.indexOf(0x2f, start);
      const end = slash < 0 ? name.length : slash;
      const part = name.subarray(start, end);
      if (part.length > 0 && !(part.length === 1 && part[0] === 0x2e)) {
        if (!isFileName(part))
          throw this.refuse(name, part.equals(Buffer.from('..')) ? 'its name holds ..' : 'a part of its name is longer than 255 bytes');
        at = joinPath(at, part);
      }
      start = end + 1;
    }
    return at;
  }

  private refuse(name: Buffer, why: string): Failure {
    return new Failure('INVALID_ARGUMENT', `the entry ${shownPath(name)} of ${this.shown} is refused: ${why}`);
  }

  /** Headers lie between data of any length: one read of 1 MiB serves many small members. */
  private reader(): (offset: number, length: number) => Buffer {
    const ahead = Buffer.allocUnsafeSlow(READ_AHEAD_BYTES);
    let from = 0;
    let held = 0;
    return (offset, length) => {
      if (offset < from || offset + length > from + held) {
        from = offset;
        held = 0;
        while (held < ahead.length) {
          const got = fs.readSync(this.fd, ahead, held, ahead.length - held, offset + held);
          if (got === 0) break;
          held += got;
        }
      }
      return Buffer.from(ahead.subarray(offset - from, Math.min(offset - from + length, held)));
    };
  }
}

/** Key of a path in the index. The root has the name '' below itself, which no listing shows. */
function place(at: Buffer): [Buffer, Buffer] {
  return at.length === 0 ? [EMPTY, EMPTY] : [parentPath(at), baseName(at)];
}
