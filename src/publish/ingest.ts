/**
 * The work that one file makes (spec 8.2): read → cut → compress → hash → hand over. It is synchronous and runs in a
 * worker thread (ingest-worker.ts), or in the calling thread where there are none. Memory does not depend on the size of
 * the file: blocks of 1 MiB are read, and what a piece compresses to goes to a spool file once it is larger than that.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { createHasher } from '../cvmfs/hash';
import type { Algorithm, Hasher } from '../cvmfs/hash';
import type { Compression } from '../cvmfs/object';
import { ChunkDetector } from './chunk-detector';
import type { ChunkSizes } from './chunk-detector';
import { createStore, deflater } from './deflater';
import type { Deflater } from './deflater';
import { spoolName } from './directory-storage';
import { withShortPath } from './long-path';
import type { StoredBytes } from './storage';

/** Where the bytes of a file are: a file of its own, or a part of an archive. */
export interface Content {
  readonly file: Buffer;
  readonly offset: number;
  readonly length: number;
  /** What the file's stat said when it was listed; another answer means that it changed since. */
  readonly expect?: { readonly inode: bigint; readonly mtimeNs: bigint };
}

export interface IngestJob {
  readonly content: Content;
  readonly algorithm: Algorithm;
  readonly compression: Compression;
  /** null: one piece, whatever the size. */
  readonly chunks: ChunkSizes | null;
  readonly spoolDir: string;
  /** Makes the names of spool files unique within the process. */
  readonly unique: string;
}

/** A chunk, or a whole file when it is the only one. */
export interface Piece {
  /** In the plain file, bytes. */
  readonly offset: number;
  readonly size: number;
  readonly digest: Buffer;
  readonly stored: StoredBytes;
}

/** `changed`: the file is not the one that was listed, or was written to meanwhile; nothing was kept of it. */
export type IngestResult = { readonly changed: true } | { readonly changed: false; readonly pieces: readonly Piece[] };

const BLOCK_BYTES = 1 << 20;
const MEMORY_BYTES = 1 << 20;
/** So that opening what was swapped for a pipe does not block, nor a link lead elsewhere. */
const OPEN_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

let block: Buffer | undefined;

/** `stopped` is asked now and then: true gives the file up with CANCELLED. */
export function ingest(job: IngestJob, stopped: () => boolean = () => false): IngestResult {
  const { content } = job;
  const fd = open(content);
  if (fd === undefined) return { changed: true };
  const writer = new PieceWriter(job);
  try {
    if (differs(fd, content)) return { changed: true };
    const complete = copy(fd, content, job, writer, stopped);
    if (complete && !differs(fd, content)) return { changed: false, pieces: writer.end() };
    writer.abandon();
    return { changed: true };
  } catch (err) {
    writer.abandon();
    throw Failure.from(err, `cannot publish ${content.file.toString()}`);
  } finally {
    fs.closeSync(fd);
  }
}

function open(content: Content): number | undefined {
  try {
    return withShortPath(content.file, (file) => fs.openSync(file, OPEN_FLAGS));
  } catch (err) {
    const code = (err as NodeJS.ErrnoException).code;
    // Gone, or a link or socket by now.
    if (content.expect !== undefined && (code === 'ENOENT' || code === 'ELOOP' || code === 'ENXIO' || code === 'ENOTDIR')) return undefined;
    throw Failure.from(err, 'cannot read a file to publish');
  }
}

function differs(fd: number, content: Content): boolean {
  if (content.expect === undefined) return false;
  const now = fs.fstatSync(fd, { bigint: true });
  return !now.isFile() || now.size !== BigInt(content.length) || now.mtimeNs !== content.expect.mtimeNs || now.ino !== content.expect.inode;
}

/** False when the file ended early. */
function copy(fd: number, content: Content, job: IngestJob, writer: PieceWriter, stopped: () => boolean): boolean {
  block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
  const detector = job.chunks !== null && content.length > job.chunks.min ? new ChunkDetector(job.chunks) : undefined;
  for (let done = 0; done < content.length;) {
    if (stopped()) throw new Failure('CANCELLED', 'the publish was given up');
    const got = fs.readSync(fd, block, 0, Math.min(BLOCK_BYTES, content.length - done), content.offset + done);
    if (got === 0) return false;
    const bytes = block.subarray(0, got);
    let from = 0;
    for (const cut of detector?.cuts(bytes) ?? []) {
      writer.push(bytes.subarray(from, cut - done));
      writer.endPiece();
      from = cut - done;
    }
    writer.push(bytes.subarray(from));
    done += got;
  }
  return true;
}

/** Compresses and hashes one piece after the other. */
class PieceWriter {
  private readonly stream: Deflater;
  private readonly pieces: Piece[] = [];
  private hasher: Hasher;
  private offset = 0;
  private size = 0;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private spool: { readonly file: string; readonly fd: number; size: number } | undefined;

  constructor(private readonly job: IngestJob) {
    this.stream = job.compression === 'zlib' ? deflater().deflater : createStore();
    this.hasher = createHasher(job.algorithm);
  }

  push(bytes: Buffer): void {
    this.size += bytes.length;
    this.keep(this.stream.push(bytes));
  }

  endPiece(): void {
    this.keep(this.stream.finish());
    this.pieces.push({ offset: this.offset, size: this.size, digest: this.hasher.digest(), stored: this.take() });
    this.hasher = createHasher(this.job.algorithm);
    this.offset += this.size;
    this.size = 0;
  }

  end(): Piece[] {
    this.endPiece();
    return this.pieces;
  }

  /** Leaves nothing behind, and the shared deflater ready for the next file. */
  abandon(): void {
    this.stream.finish();
    const spools = this.pieces.flatMap((piece) => ('spool' in piece.stored ? [piece.stored.spool] : []));
    if (this.spool !== undefined) {
      fs.closeSync(this.spool.fd);
      spools.push(this.spool.file);
    }
    for (const file of spools) fs.rmSync(file, { force: true });
  }

  private keep(stored: readonly Buffer[]): void {
    for (const bytes of stored) {
      this.hasher.update(bytes);
      this.held.push(bytes);
      this.heldBytes += bytes.length;
    }
    if (this.heldBytes > MEMORY_BYTES) this.spill();
  }

  private spill(): void {
    if (this.spool === undefined) {
      const file = spoolName(this.job.spoolDir, `${this.job.unique}.${this.pieces.length}`);
      this.spool = { file, fd: fs.openSync(file, 'wx'), size: 0 };
    }
    for (const bytes of this.held) {
      for (let at = 0; at < bytes.length;) at += fs.writeSync(this.spool.fd, bytes, at);
      this.spool.size += bytes.length;
    }
    this.held = [];
    this.heldBytes = 0;
  }

  private take(): StoredBytes {
    if (this.spool === undefined) {
      const bytes = Buffer.concat(this.held);
      this.held = [];
      this.heldBytes = 0;
      return { bytes };
    }
    this.spill();
    const { file, fd, size } = this.spool;
    fs.closeSync(fd);
    this.spool = undefined;
    return { spool: file, size };
  }
}
