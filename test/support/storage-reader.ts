/**
 * A reader straight over a repository's storage directory: the real walk over the real catalogs, without trust chain,
 * network, cache and mount. For tests of the rooms above the repository.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { Catalog } from '../../src/cvmfs/catalog';
import type { ContentHash } from '../../src/cvmfs/hash';
import { formatHash } from '../../src/cvmfs/hash';
import { parseManifest } from '../../src/cvmfs/manifest';
import { objectPath } from '../../src/cvmfs/object';
import type { CatalogSet } from '../../src/repository/catalog-set';
import type { ObjectNeed } from '../../src/repository/missing';
import type { ObjectStore } from '../../src/repository/object-store';
import type { RepositoryReader, Snapshot } from '../../src/repository/reader';
import { Walker } from '../../src/repository/walker';

/** Close it. */
export function openStorage(fqrn: string, storage: string): RepositoryReader & { close(): void } {
  const temp = fs.mkdtempSync(path.join(os.tmpdir(), 'storage-'));
  const open = new Map<string, Catalog>();
  const read = (need: Pick<ObjectNeed, 'hash' | 'kind' | 'compression'>): Buffer => {
    const bytes = fs.readFileSync(path.join(storage, objectPath(need)));
    return need.compression === 'zlib' ? zlib.inflateSync(bytes) : bytes;
  };
  const catalogs = {
    get(hash: ContentHash): Catalog {
      const text = formatHash(hash);
      const known = open.get(text);
      if (known !== undefined) return known;
      const file = path.join(temp, text);
      fs.writeFileSync(file, read({ hash, kind: 'catalog', compression: 'zlib' }));
      const catalog = Catalog.open(file);
      open.set(text, catalog);
      return catalog;
    },
  };
  const store = { ensure: async () => undefined, bytes: async (need: ObjectNeed) => read(need) };
  const walker = new Walker({ fqrn, catalogs: catalogs as unknown as CatalogSet, store: store as unknown as ObjectStore });
  return {
    fqrn,
    async snapshot(): Promise<Snapshot> {
      const manifest = parseManifest(fs.readFileSync(path.join(storage, '.cvmfspublished')));
      return { rootHash: formatHash(manifest.rootHash), revision: manifest.revision };
    },
    walk: (snapshot, at, options) => walker.walk(snapshot, at, options),
    list: (snapshot, at, maxEntries) => walker.list(snapshot, at, maxEntries),
    readFile: (snapshot, at, maxBytes) => walker.readFile(snapshot, at, maxBytes),
    close() {
      for (const catalog of open.values()) catalog.close();
      fs.rmSync(temp, { recursive: true });
    },
  };
}
