/**
 * Where a repository's files are written: what a web server publishes as `…/<fqrn>`. Two kinds of names live in it:
 *
 *   objects  `data/xx/yyyy…`           named by their content, written once, never changed
 *   mutable  `.cvmfspublished` and the other dot files at the root, replaced as a whole
 *
 * Obligations of an implementation, on which the safety of a publish rests:
 * - A name appears with all its bytes or not at all; readers meet the old or the new content of a mutable file, never a mix.
 * - `putObject` may be called for an object that exists: it is skipped when the stored size is right, else replaced
 *   (a file that was cut short by a power failure must not count as present).
 * - After `flush` everything that was put survives a power failure. It is called before the manifest is written, and
 *   the manifest itself is durable when `putMutable` returns.
 * - `lock` keeps every other publisher out, and is released by the death of the process.
 */
import { Failure } from '../error';

/** Stored bytes, in memory or in a file of `spoolDir` that the storage takes over. */
export type StoredBytes = { readonly bytes: Buffer } | { readonly spool: string; readonly size: number };

export interface Lock {
  release(): Promise<void>;
}

export interface Storage {
  /** For messages: where it is. */
  readonly place: string;
  /** A local folder for large temporary files, emptied by the next holder of the lock. */
  readonly spoolDir: string;
  /** FAILED_PRECONDITION when another publisher has it. */
  lock(): Promise<Lock>;
  /** Stored bytes of a name, undefined when it does not exist. */
  size(name: string): Promise<number | undefined>;
  /** Resolves to whether it was written (false: present already). */
  putObject(name: string, content: StoredBytes): Promise<boolean>;
  putMutable(name: string, bytes: Buffer): Promise<void>;
  /** A whole file, undefined when it does not exist; RESOURCE_EXHAUSTED when it is larger than `maxBytes`. */
  read(name: string, maxBytes: number): Promise<Buffer | undefined>;
  /** The bytes of a file in order, in pieces; NOT_FOUND when it does not exist. */
  stream(name: string): AsyncIterable<Buffer>;
  /** Names and sizes of all objects, in no order. */
  list(): AsyncIterable<{ readonly name: string; readonly size: number }>;
  flush(): Promise<void>;
}

/** Splits `--storage`: a directory, or a service that a later version brings. */
export function storageDirectory(location: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return location;
  if (scheme === 'file') return decodeURIComponent(new URL(location).pathname);
  throw new Failure('UNIMPLEMENTED', `storage ${JSON.stringify(location)} comes with a later release`, { next: 'give a local directory' });
}
