/**
 * What is published: a tree of entries, listed directory by directory, so that nobody ever holds all of it. Two things
 * are such a tree: a local directory (directory-source.ts) and an archive (tar-source.ts).
 */
import { Failure } from '../error';
import type { Xattr } from '../cvmfs/xattr-blob';
import type { EntryType } from '../repository/reader';
import type { Content } from './ingest';

export interface SourceEntry {
  /** Bytes as they are; empty for the root. */
  readonly name: Buffer;
  readonly type: EntryType;
  /** The lower twelve bits: permissions, set-id bits and sticky bit. */
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file, else 0. A directory's is shown to users and means nothing. */
  readonly size: number;
  /** Unix seconds and the nanoseconds after them. */
  readonly mtime: number;
  readonly mtimeNs: number;
  /** Target of a symbolic link. */
  readonly target?: Buffer;
  /** Device number as st_rdev has it. */
  readonly device?: bigint;
  readonly xattrs: readonly Xattr[];
  /** Names with the same text in one directory are one file. `count`: names in the whole source, as far as known. */
  readonly link?: { readonly file: string; readonly count: number };
  /** Where a file's bytes are. */
  readonly content?: Content;
}

export interface SourceTree {
  /** How messages call it. */
  readonly shown: string;
  root(): SourceEntry;
  /** Entries of a directory, ascending by name. `path` is `/a/b`, empty for the root. */
  list(path: Buffer): SourceEntry[];
  /** One entry as it is now; undefined when it is gone. For a file that changed while it was read. */
  again(path: Buffer): SourceEntry | undefined;
  /** True when the directory's listing is not what it was any more. */
  changedSince(path: Buffer, listed: SourceEntry): boolean;
  close(): void;
}

/** A directory of a source on its way into a catalog. */
export interface SourceDirectory {
  /** Path in the repository. */
  readonly path: Buffer;
  /** Path in the source. */
  readonly from: Buffer;
  readonly entry: SourceEntry;
  readonly entries: readonly SourceEntry[];
  /** It is the root of a nested catalog. */
  readonly nested: boolean;
}

export type Warn = (message: string) => void;

const TYPE_BITS: Readonly<Record<EntryType, number>> = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  fifo: 0o010000,
  socket: 0o140000,
  'character-device': 0o020000,
  'block-device': 0o060000,
};

/** st_mode. */
export function modeOf(entry: SourceEntry): number {
  return TYPE_BITS[entry.type] | entry.permissions;
}

/** The type that st_mode says, undefined for what Linux does not have. */
export function typeOf(mode: number): EntryType | undefined {
  return (Object.keys(TYPE_BITS) as EntryType[]).find((type) => TYPE_BITS[type] === (mode & 0o170000));
}

/** A path for messages: never a control character, whatever the bytes are. */
export function shownPath(path: Buffer): string {
  const text = path.length === 0 ? '/' : path.toString();
  return /[\u0000-\u001f\u007f\ufffd"]/.test(text) ? JSON.stringify(path.toString('latin1')) : text;
}

/** Kinds of `publish` sources that are named and not offered here. */
const LATER = ['oci', 'docker-archive', 'docker'];

/** Splits `dir:/path` and `tar:/path`. */
export function parseSource(text: string): { readonly kind: 'dir' | 'tar'; readonly path: string } {
  const match = /^([a-z-]+):(.+)$/s.exec(text);
  const offered = { next: 'give dir:PATH or tar:PATH' };
  if (match === null) throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(text)} is not a source`, offered);
  const [, kind, path] = match as unknown as [string, string, string];
  if (LATER.includes(kind)) throw new Failure('UNIMPLEMENTED', `publishing from ${kind}: comes with a later release`, offered);
  if (kind !== 'dir' && kind !== 'tar') throw new Failure('INVALID_ARGUMENT', `${JSON.stringify(kind)} is not a kind of source`, offered);
  return { kind, path };
}
