/**
 * What a driver asks of a mounted repository. Two stand in front of it: the engine of the kernel driver, which speaks the
 * kernel's protocol by node id (server/engine.ts), and the fuse-native driver, which is asked by path (native-driver/).
 *
 * Every call is synchronous and answers from what is local. What stops one is thrown:
 *   Missing      an object is not in the cache; fetch it and ask again
 *   AskMain      only the main thread of the server knows (magic attributes, statfs)
 *   Failure      the reader gets its errno
 */
import type { NodeAttributes } from '../repository/node-attributes';
import type { NodeId } from '../repository/node-id';
import type { Found, Lifetime } from '../repository/tree';

/** The thread that was asked is not the one that knows. */
export class AskMain extends Error {}

/** One entry of a listing. */
export interface Listed {
  readonly name: Buffer;
  readonly attributes: NodeAttributes;
}

export interface FileSystem {
  /** Which revision the live tree shows: another number after each new revision. */
  revision(): number;
  lookup(parent: NodeId, name: Buffer): Found | { readonly node: null; readonly lifetime: Lifetime };
  attributes(node: NodeId): NodeAttributes;
  /** Every entry of a directory but `.` and `..`, in one revision. */
  list(node: NodeId): Listed[];
  readlink(node: NodeId): Buffer;
  /** Reads a regular file's bytes from `offset` into `into`; fewer than `length` only at the file's end. */
  read(node: NodeId, into: Buffer, at: number, offset: number, length: number): number;
  /** Value of an extended attribute, stored or magic. */
  xattr(node: NodeId, name: Buffer): Buffer | undefined;
  /** Names of the extended attributes that a listing shows to this user. */
  xattrNames(node: NodeId, uid: number): Buffer[];
  /** 80 bytes of the kernel's `struct fuse_kstatfs`. */
  statfs(): Buffer;
}
