/** What the write side needs of the world around it. */
import { randomBytes } from 'node:crypto';

/** Counts of a publish so far. */
export interface PublishProgress {
  readonly entries: number;
  readonly files: number;
  /** Plain bytes read. */
  readonly bytes: number;
  readonly newObjects: number;
  readonly newBytes: number;
}

export interface PublishWorld {
  now(): Date;
  randomBytes(size: number): Buffer;
  /** Compression threads; 0: in the calling thread. Default: one per CPU. */
  readonly workers?: number;
  /** Called often; what is slow in it slows the publish. */
  onProgress?(progress: PublishProgress): void;
  onWarning?(message: string): void;
  /**
   * Called after each step that leaves something behind. For tests of what a crash there leaves: one that throws ends
   * the publish at this point.
   */
  onStep?(step: PublishStep): void | Promise<void>;
}

/** In order; `catalog` comes once per catalog, leaves first. */
export type PublishStep = 'locked' | 'tree' | 'catalog' | 'history' | 'certificate' | 'metainfo' | 'reflog' | 'flushed' | 'manifest';

export const systemWorld: PublishWorld = { now: () => new Date(), randomBytes: (size) => randomBytes(size) };
