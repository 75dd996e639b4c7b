/**
 * A local directory as a source. Names and link targets are bytes; nothing is followed; every kind of file is taken:
 * pipes, sockets and devices become entries, never opened. Hard links within one directory stay one file.
 *
 * Extended attributes are taken as they are, except those in which an overlay file system keeps its own books. One that
 * the format cannot hold (255 bytes for name and value, 255 per file) is an error: a silent loss of a capability or an
 * access list would be worse.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import type { Xattr } from '../cvmfs/xattr-blob';
import { libc } from '../native/libc';
import { baseName } from './catalog-writer';
import { withShortPath } from './long-path';
import { shownPath, typeOf } from './source';
import type { SourceEntry, SourceTree } from './source';

const SLASH = Buffer.from('/');
const OVERLAY_XATTR = /^(trusted|user)\.overlay\./;
const MAX_DEVICE = 2n ** 32n;
const NANOSECONDS = 1_000_000_000n;

export interface DirectorySourceOptions {
  /** Default true. */
  readonly xattrs?: boolean;
}

export class DirectorySource implements SourceTree {
  readonly shown: string;
  private readonly top: Buffer;

  constructor(
    directory: string,
    private readonly options: DirectorySourceOptions = {},
  ) {
    this.shown = `dir:${directory}`;
    try {
      this.top = fs.realpathSync.native(Buffer.from(directory), { encoding: 'buffer' });
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') throw new Failure('NOT_FOUND', `the directory ${directory} does not exist`);
      throw Failure.from(err, `cannot read ${directory}`);
    }
    if (!fs.statSync(this.top).isDirectory()) throw new Failure('NOT_A_DIRECTORY', `${directory} is not a directory`);
    if (this.top.equals(SLASH)) this.top = Buffer.alloc(0);
  }

  root(): SourceEntry {
    const entry = this.again(Buffer.alloc(0));
    if (entry === undefined) throw new Failure('NOT_FOUND', `the directory ${this.shown} is gone`);
    return { ...entry, name: Buffer.alloc(0) };
  }

  list(path: Buffer): SourceEntry[] {
    let names: Buffer[];
    try {
      names = withShortPath(this.local(path), (short) => fs.readdirSync(short, { encoding: 'buffer' }));
    } catch (err) {
      throw Failure.from(err, `cannot list ${shownPath(path)} of ${this.shown}`);
    }
    const entries: SourceEntry[] = [];
    for (const name of names.sort(Buffer.compare)) {
      const entry = this.again(Buffer.concat([path, SLASH, name]));
      if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  again(path: Buffer): SourceEntry | undefined {
    const local = this.local(path);
    try {
      return withShortPath(local, (short) => this.read(local, short, path));
    } catch (err) {
      if (err instanceof Failure && err.code !== 'SYSTEM') throw err;
      const failure = Failure.from(err, `cannot publish ${shownPath(path)} of ${this.shown}`);
      // Between listing and looking it went away, as if it had never been there.
      if (failure.data['errno'] === 'ENOENT') return undefined;
      throw failure;
    }
  }

  changedSince(path: Buffer, listed: SourceEntry): boolean {
    const now = this.again(path);
    return now === undefined || now.mtime !== listed.mtime || now.mtimeNs !== listed.mtimeNs;
  }

  close(): void {}

  private local(path: Buffer): Buffer {
    const local = Buffer.concat([this.top, path]);
    return local.length === 0 ? SLASH : local;
  }

  private read(local: Buffer, short: Buffer, path: Buffer): SourceEntry {
    const stat = fs.lstatSync(short, { bigint: true });
    const type = typeOf(Number(stat.mode));
    if (type === undefined) throw new Failure('UNIMPLEMENTED', `${shownPath(path)} of ${this.shown} is of no kind that a catalog can hold`);
    // Dates before 1970 have a positive rest too.
    const mtimeNs = ((stat.mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    const device = type === 'character-device' || type === 'block-device';
    if (device && stat.rdev >= MAX_DEVICE) throw new Failure('UNIMPLEMENTED', `the device number of ${shownPath(path)} is too large`);
    return {
      name: baseName(path),
      type,
      permissions: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: type === 'file' || type === 'directory' ? Number(stat.size) : 0,
      mtime: Number((stat.mtimeNs - mtimeNs) / NANOSECONDS),
      mtimeNs: Number(mtimeNs),
      xattrs: this.options.xattrs === false ? [] : readXattrs(short),
      ...(type === 'symlink' ? { target: fs.readlinkSync(short, { encoding: 'buffer' }) } : {}),
      ...(device ? { device: stat.rdev } : {}),
      ...(type !== 'directory' && stat.nlink > 1n ? { link: { file: `${stat.dev}:${stat.ino}`, count: Number(stat.nlink) } } : {}),
      ...(type === 'file'
        ? { content: { file: local, offset: 0, length: Number(stat.size), expect: { inode: stat.ino, mtimeNs: stat.mtimeNs } } }
        : {}),
    };
  }
}

function readXattrs(path: Buffer): Xattr[] {
  const found: Xattr[] = [];
  for (const name of libc().llistxattr(path)) {
    if (OVERLAY_XATTR.test(name.toString('latin1'))) continue;
    const value = libc().lgetxattr(path, name);
    if (value !== null) found.push({ name, value });
  }
  return found;
}
