import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { Catalog } from '../../../src/cvmfs/catalog';
import type { CatalogEntry } from '../../../src/cvmfs/catalog';
import { isChunked, isDirectory, isExternal, isNestedMountpoint, isNestedRoot, isRegular, isSpecial, isSymlink } from '../../../src/cvmfs/flags';
import { formatHash, parseHash } from '../../../src/cvmfs/hash';
import { objectPath } from '../../../src/cvmfs/object';
import { pathKey, samePathKey } from '../../../src/cvmfs/path-key';
import { describeWithFixtures } from '../../support/fixtures';

interface ManifestLine {
  path?: string;
  path_b64?: string;
  type: string;
  /** Octal. */
  mode: string;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  target?: string;
}

function entriesOf(catalog: Catalog): CatalogEntry[] {
  const all: CatalogEntry[] = [];
  for (let page = catalog.entriesAfter(0, 500); page.length > 0; page = catalog.entriesAfter(page[page.length - 1]!.rowid, 500)) all.push(...page);
  return all;
}

describeWithFixtures('catalogs of the real tools', (dir) => {
  let scratch: string;
  beforeAll(() => {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'catalogs-'));
  });
  afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

  function unpack(fqrn: string, hash: string): string {
    const file = path.join(scratch, hash);
    const stored = fs.readFileSync(path.join(dir, fqrn, objectPath({ hash: parseHash(hash), kind: 'catalog', compression: 'zlib' })));
    if (!fs.existsSync(file)) fs.writeFileSync(file, zlib.inflateSync(stored), { mode: 0o400 });
    return file;
  }

  function catalogHashes(fqrn: string): string[] {
    const data = path.join(dir, fqrn, 'data');
    return fs.readdirSync(data).flatMap((prefix) => fs.readdirSync(path.join(data, prefix)).filter((name) => name.endsWith('C')).map((name) => prefix + name.slice(0, -1)));
  }

  it.each(['golden.cvmfs.test', 'golden-plain.cvmfs.test', 'golden-shake128.cvmfs.test', 'images.golden.test'])(
    'of %s all open, and their statistics count their rows',
    (fqrn) => {
      const hashes = catalogHashes(fqrn);
      expect(hashes.length).toBeGreaterThan(8);
      for (const hash of hashes) {
        const catalog = Catalog.open(unpack(fqrn, hash));
        const entries = entriesOf(catalog);
        const statistics = catalog.statistics();
        const count = (is: (entry: CatalogEntry) => boolean): number => entries.filter(is).length;
        const root = catalog.rootEntry();
        expect({
          hash,
          regular: count((e) => isRegular(e.flags)),
          symlink: count((e) => isSymlink(e.flags)),
          special: count((e) => isSpecial(e.flags)),
          dir: count((e) => isDirectory(e.flags)),
          nested: catalog.nested().filter((nested) => !nested.bind).length,
          chunked: count((e) => isChunked(e.flags)),
          xattr: count((e) => e.xattrs !== null),
          external: count((e) => isExternal(e.flags)),
          file_size: entries.filter((e) => isRegular(e.flags)).reduce((sum, e) => sum + e.size, 0),
        }).toEqual({
          hash,
          ...Object.fromEntries(
            ['regular', 'symlink', 'special', 'dir', 'nested', 'chunked', 'xattr', 'external', 'file_size'].map((name) => [name, statistics.get(`self_${name}`)]),
          ),
        });
        expect(catalog.hiddenEntries).toBe(0);
        expect(isNestedRoot(root.flags)).toBe(catalog.rootPrefix.length !== 0);
        expect(entries.filter((e) => isNestedMountpoint(e.flags)).every((e) => catalog.nestedAt(catalog.pathOf(e)) !== undefined)).toBe(true);
        let chunks = 0;
        for (const entry of entries) {
          expect(samePathKey(pathKey(catalog.pathOf(entry)), entry.key)).toBe(true);
          chunks += catalog.chunks(entry).length;
        }
        expect(chunks).toBe(statistics.get('self_chunks'));
        catalog.close();
        expect(fs.readdirSync(scratch).filter((name) => name.includes('-journal') || name.includes('-wal'))).toEqual([]);
      }
    },
    60_000,
  );

  it('hold the tree that was published, in every revision', () => {
    const fqrn = 'golden.cvmfs.test';
    // Tag → root catalog, from the publisher's own list.
    const published = fs.readdirSync(path.join(dir, fqrn, 'manifests')).filter((name) => name.endsWith('.jsonl.gz'));
    expect(published.length).toBe(4);
    const roots = catalogHashes(fqrn)
      .map((hash) => ({ hash, catalog: Catalog.open(unpack(fqrn, hash)) }))
      .filter(({ catalog }) => catalog.rootPrefix.length === 0 && catalog.revision > 0)
      .sort((a, b) => a.catalog.revision - b.catalog.revision);
    expect(roots.map(({ catalog }) => catalog.revision)).toEqual([1, 2, 3, 4]);
    for (const [i, { catalog }] of roots.entries()) {
      const file = published.find((name) => name.startsWith(`rev-${i + 1}`))!;
      const lines = zlib.gunzipSync(fs.readFileSync(path.join(dir, fqrn, 'manifests', file))).toString().trim().split('\n');
      const open = new Map<string, Catalog>([['', catalog]]);
      const walk = (line: ManifestLine): CatalogEntry | undefined => {
        const bytes = line.path_b64 === undefined ? Buffer.from(line.path!) : Buffer.from(line.path_b64, 'base64');
        const wanted = bytes.toString('latin1').replace(/^\.?\/?/, '/').replace(/\/$/, '');
        let current = catalog;
        const parts = wanted.split('/').slice(1);
        for (let depth = 1; depth <= parts.length; depth += 1) {
          const at = Buffer.from(`/${parts.slice(0, depth).join('/')}`, 'latin1');
          const nested = current.nestedAt(at);
          if (nested === undefined) continue;
          const key = formatHash(nested.hash);
          if (!open.has(key)) open.set(key, Catalog.open(unpack(fqrn, key)));
          current = open.get(key)!;
          expect(current.rootPrefix.equals(at)).toBe(true);
        }
        return current.byKey(pathKey(Buffer.from(wanted, 'latin1')));
      };
      const wrong: string[] = [];
      for (const text of lines) {
        const line = JSON.parse(text) as ManifestLine;
        const entry = walk(line);
        // The root's own times are those of the publisher's storage, not of the source.
        const same =
          entry !== undefined &&
          (entry.mode & 0o7777) === parseInt(line.mode, 8) &&
          entry.uid === line.uid &&
          entry.gid === line.gid &&
          (line.path === '/' || entry.mtime === line.mtime) &&
          (line.type !== 'file' || (entry.size === line.size && isRegular(entry.flags))) &&
          (line.target === undefined || entry.symlink.toString() === line.target);
        if (!same) wrong.push(text);
      }
      expect(lines.length).toBeGreaterThan(5000);
      expect(wrong).toEqual([]);
      for (const each of open.values()) each.close();
    }
  }, 60_000);
});
