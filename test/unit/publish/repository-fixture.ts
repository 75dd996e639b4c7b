/** A new repository in a temporary folder, and what is in it as a reader of catalogs finds it. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { Catalog } from '../../../src/cvmfs/catalog';
import type { CatalogEntry } from '../../../src/cvmfs/catalog';
import { compression, hashAlgorithm, isChunked, isDirectory, isRegular } from '../../../src/cvmfs/flags';
import { formatHash } from '../../../src/cvmfs/hash';
import { parseManifest } from '../../../src/cvmfs/manifest';
import type { Manifest } from '../../../src/cvmfs/manifest';
import { objectPath } from '../../../src/cvmfs/object';
import type { ObjectId } from '../../../src/cvmfs/object';
import { pathKey } from '../../../src/cvmfs/path-key';
import { publish } from '../../../src/publish/publish';
import type { Published, PublishOptions } from '../../../src/publish/publish';
import type { PublishWorld } from '../../../src/publish/publish-world';
import { checkRepository } from '../../../src/publish/repo-check';
import type { CheckReport } from '../../../src/publish/repo-check';
import { createRepository } from '../../../src/publish/repo-create';
import type { CreateOptions } from '../../../src/publish/repo-create';

export const FQRN = 'unit.example.org';

let template: string | undefined;
afterAll(() => {
  if (template !== undefined) fs.rmSync(template, { recursive: true, force: true });
});

export interface TreeEntry extends CatalogEntry {
  /** Hash of the catalog that the row is from; of a mount point, the nested one. */
  readonly catalogHash: string;
  readonly content: Buffer | undefined;
  readonly chunkOffsets: readonly number[];
}

export class Fixture {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'publish-'));
  readonly storage = path.join(this.dir, 'repo');
  readonly keys = path.join(this.dir, 'keys');
  readonly source = path.join(this.dir, 'source');
  readonly warnings: string[] = [];
  /** Seconds that the world's clock is ahead. */
  ahead = 0;
  readonly world: PublishWorld = {
    now: () => new Date(Date.now() + this.ahead * 1000),
    randomBytes: (size) => randomBytes(size),
    workers: 0,
    onWarning: (message) => void this.warnings.push(message),
  };

  async create(options: Partial<CreateOptions> = {}): Promise<this> {
    fs.mkdirSync(this.source);
    const make = (dir: string): Promise<unknown> =>
      createRepository({ fqrn: FQRN, storage: path.join(dir, 'repo'), keys: path.join(dir, 'keys'), ...options }, this.world);
    if (Object.keys(options).length > 0) {
      await make(this.dir);
      return this;
    }
    // Keys take long to make, so repositories without wishes are copies of one.
    template ??= fs.mkdtempSync(path.join(os.tmpdir(), 'publish-template-'));
    if (!fs.existsSync(path.join(template, 'repo'))) await make(template);
    fs.cpSync(template, this.dir, { recursive: true });
    return this;
  }

  /** Writes files below the source folder; a name that ends in / is a folder. */
  files(files: Record<string, string | Buffer>): void {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.source, name);
      fs.mkdirSync(name.endsWith('/') ? file : path.dirname(file), { recursive: true });
      if (!name.endsWith('/')) fs.writeFileSync(file, content);
    }
  }

  publish(options: Partial<PublishOptions> = {}, world: Partial<PublishWorld> = {}): Promise<Published> {
    return publish({ source: `dir:${this.source}`, fqrn: FQRN, storage: this.storage, keys: this.keys, ...options }, { ...this.world, ...world });
  }

  publishTar(bytes: Buffer, options: Partial<PublishOptions> = {}): Promise<Published> {
    const file = path.join(this.dir, 'archive.tar');
    fs.writeFileSync(file, bytes);
    return this.publish({ source: `tar:${file}`, ...options });
  }

  check(): Promise<CheckReport> {
    return checkRepository(
      { fqrn: FQRN, storage: this.storage, masterKeys: [fs.readFileSync(path.join(this.keys, `${FQRN}.pub`), 'utf8')] },
      this.world,
    );
  }

  manifest(): Manifest {
    return parseManifest(fs.readFileSync(path.join(this.storage, '.cvmfspublished')));
  }

  object(id: ObjectId): Buffer {
    const stored = fs.readFileSync(path.join(this.storage, objectPath(id)));
    return id.compression === 'zlib' ? zlib.inflateSync(stored) : stored;
  }

  /** A decompressed copy of a database object. */
  database(id: ObjectId): string {
    const file = path.join(this.dir, `${id.kind}-${formatHash(id.hash)}.sqlite`);
    if (!fs.existsSync(file)) fs.writeFileSync(file, this.object(id));
    return file;
  }

  /** Every entry by its path, latin1, the root as ''. */
  tree(): Map<string, TreeEntry> {
    const found = new Map<string, TreeEntry>();
    const open = (hash: ObjectId['hash']): Catalog => Catalog.open(this.database({ hash, kind: 'catalog', compression: 'zlib' }));
    const walk = (catalog: Catalog, hash: string, directory: Buffer): void => {
      for (const entry of catalog.children(pathKey(directory), 0, 100_000)) {
        const at = Buffer.concat([directory, Buffer.from('/'), entry.name]);
        const nested = isDirectory(entry.flags) ? catalog.nestedAt(at) : undefined;
        found.set(at.toString('latin1'), this.treeEntry(catalog, nested === undefined ? hash : formatHash(nested.hash), entry));
        if (!isDirectory(entry.flags)) continue;
        if (nested === undefined) {
          walk(catalog, hash, at);
          continue;
        }
        const child = open(nested.hash);
        walk(child, formatHash(nested.hash), at);
        child.close();
      }
    };
    const { rootHash } = this.manifest();
    const root = open(rootHash);
    found.set('', this.treeEntry(root, formatHash(rootHash), root.rootEntry()));
    walk(root, formatHash(rootHash), Buffer.alloc(0));
    root.close();
    return found;
  }

  remove(): void {
    // Not fs.rmSync, which fails on paths longer than the kernel takes.
    execFileSync('rm', ['-rf', this.dir]);
  }

  private treeEntry(catalog: Catalog, catalogHash: string, entry: CatalogEntry): TreeEntry {
    if (!isRegular(entry.flags)) return { ...entry, catalogHash, content: undefined, chunkOffsets: [] };
    const how = { algorithm: hashAlgorithm(entry.flags)!, compression: compression(entry.flags)! };
    const read = (digest: Buffer, kind: 'file' | 'chunk'): Buffer =>
      this.object({ hash: { algorithm: how.algorithm, digest }, kind, compression: how.compression });
    if (!isChunked(entry.flags)) return { ...entry, catalogHash, content: read(entry.hash!, 'file'), chunkOffsets: [] };
    const chunks = catalog.chunks(entry);
    return {
      ...entry,
      catalogHash,
      content: Buffer.concat(chunks.map((chunk) => read(chunk.hash, 'chunk'))),
      chunkOffsets: chunks.map((chunk) => chunk.offset),
    };
  }
}
