/** What the parts of a publish share. */
import type { Algorithm } from '../cvmfs/hash';
import type { Compression } from '../cvmfs/object';
import type { ChunkSizes } from './chunk-detector';
import type { IngestPool } from './ingest-pool';
import type { PublishStep } from './publish-world';
import type { Warn } from './source';
import type { Storage } from './storage';
import type { WorkDir } from './work-dir';

export interface Totals {
  entries: number;
  files: number;
  /** Plain bytes read. */
  bytes: number;
  newObjects: number;
  /** Stored bytes that were not there before. */
  newBytes: number;
  catalogs: number;
}

/** What storing a catalog takes. */
export interface StoreContext {
  readonly storage: Storage;
  readonly workDir: WorkDir;
  readonly pool: IngestPool;
  readonly algorithm: Algorithm;
  /** Unix seconds, of catalogs and of what has no time of its own. */
  readonly now: number;
  readonly totals: Totals;
  readonly step: (name: PublishStep) => Promise<void>;
  /** Objects that are being stored, by name: of equal files that come together one is written. */
  readonly storing: Map<string, Promise<boolean>>;
}

export interface TreeWriterContext extends StoreContext {
  readonly compression: Compression;
  readonly chunks: ChunkSizes | null;
  /** Record the nanoseconds of times. */
  readonly mtimeNs: boolean;
  readonly warn: Warn;
  readonly progress: () => void;
}
