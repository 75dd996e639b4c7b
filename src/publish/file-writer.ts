/** Has the files of directories compressed and stores them, a bounded number at a time. */
import { Failure } from '../error';
import type { ContentHash } from '../cvmfs/hash';
import { objectPath } from '../cvmfs/object';
import { putPiece } from './catalog-store';
import { joinPath } from './catalog-writer';
import type { Piece } from './ingest';
import type { TreeWriterContext } from './publish-context';
import { shownPath } from './source';
import type { SourceDirectory, SourceEntry, SourceTree } from './source';

/** Files that are being compressed or stored at a time. */
const MAX_AHEAD_FILES = 64;
/** How often a file is read again that changes while it is read. */
const ATTEMPTS = 3;

export interface IngestedFile {
  readonly entry: SourceEntry;
  readonly pieces: readonly Pick<Piece, 'offset' | 'size' | 'digest'>[];
}

export class FileWriter {
  private running = 0;
  private readonly waiting: Array<() => void> = [];
  private sequence = 0;
  private failure: unknown;

  constructor(
    private readonly context: TreeWriterContext,
    private readonly source: SourceTree,
  ) {}

  /** The files of a directory; of hard links the first name only. */
  async ingestAll(directory: SourceDirectory): Promise<Map<SourceEntry, IngestedFile>> {
    const done = new Map<SourceEntry, IngestedFile>();
    const seen = new Set<string>();
    const started = new Set<Promise<void>>();
    for (const entry of directory.entries) {
      if (entry.type !== 'file' || (entry.link !== undefined && seen.has(entry.link.file))) continue;
      if (entry.link !== undefined) seen.add(entry.link.file);
      await this.slot();
      if (this.failure !== undefined) {
        this.release();
        break;
      }
      const work: Promise<void> = this.ingest(directory.from, entry)
        .then((file) => void done.set(entry, file))
        .catch((err: unknown) => void (this.failure ??= err)) // nothing that comes after it is worth starting
        .finally(() => {
          this.release();
          started.delete(work);
        });
      started.add(work);
    }
    await Promise.all(started);
    if (this.failure !== undefined) throw this.failure;
    return done;
  }

  private async ingest(directory: Buffer, listed: SourceEntry): Promise<IngestedFile> {
    const { context } = this;
    const path = joinPath(directory, listed.name);
    let entry: SourceEntry | undefined = listed;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (entry?.content === undefined) break;
      this.sequence += 1;
      const result = await context.pool.run({
        content: entry.content,
        algorithm: context.algorithm,
        compression: context.compression,
        chunks: context.chunks,
        spoolDir: context.storage.spoolDir,
        unique: String(this.sequence),
      });
      if (result.changed) {
        entry = this.source.again(path);
        continue;
      }
      const { pieces } = result;
      for (const piece of pieces) {
        const hash: ContentHash = { algorithm: context.algorithm, digest: piece.digest };
        await putPiece(context, piece, objectPath({ hash, kind: pieces.length > 1 ? 'chunk' : 'file', compression: context.compression }));
      }
      context.totals.files += 1;
      context.totals.bytes += entry.size;
      // Kept small: a million of these may wait for their turn.
      return { entry, pieces: pieces.map(({ offset, size, digest }) => ({ offset, size, digest: Buffer.from(digest) })) };
    }
    throw new Failure('FAILED_PRECONDITION', `${shownPath(path)} of ${this.source.shown} changes or goes away while it is published`, {
      next: 'publish from a tree that nobody writes to, a snapshot for example',
    });
  }

  private async slot(): Promise<void> {
    while (this.running >= MAX_AHEAD_FILES) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running += 1;
  }

  private release(): void {
    this.running -= 1;
    this.waiting.shift()?.();
  }
}
