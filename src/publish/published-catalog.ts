/** Catalogs of the revision that a publish starts from. */
import * as fs from 'node:fs';
import { Catalog } from '../cvmfs/catalog';
import { formatHash } from '../cvmfs/hash';
import type { ContentHash } from '../cvmfs/hash';
import { readStatistics } from './catalog-statistics';
import type { CatalogStatistics } from './catalog-statistics';
import type { Storage } from './storage';
import { unpackToFile } from './unpack-object';
import type { WorkDir } from './work-dir';

export interface PublishedCatalog {
  readonly hash: ContentHash;
  /** The decompressed file, private to the caller. */
  readonly file: string;
  readonly bytes: number;
  readonly catalog: Catalog;
  readonly statistics: CatalogStatistics;
  close(): void;
}

/** Fetches and opens a catalog; errors name it. Its file goes away with `close`. */
export async function openPublished(storage: Storage, hash: ContentHash, workDir: WorkDir): Promise<PublishedCatalog> {
  const file = workDir.file(`catalog-${formatHash(hash)}`);
  const bytes = await unpackToFile(storage, { hash, kind: 'catalog', compression: 'zlib' }, file);
  try {
    const catalog = Catalog.open(file);
    return {
      hash,
      file,
      bytes,
      catalog,
      statistics: readStatistics(catalog.statistics()),
      close: () => {
        catalog.close();
        fs.rmSync(file, { force: true });
      },
    };
  } catch (err) {
    fs.rmSync(file, { force: true });
    throw err;
  }
}
