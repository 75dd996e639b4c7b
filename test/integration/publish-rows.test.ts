/**
 * Takes the trees that the stock publisher published out of its repositories, publishes them with ours, and compares what
 * came out row by row: hashes, flags, sizes, modes, times, links, chunks, attributes, nested catalogs.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { isChunked, isDirectory, isExternal, isNestedMountpoint, isRegular, isSpecial, isSymlink } from '../../src/cvmfs/flags';
import { formatHash } from '../../src/cvmfs/hash';
import type { Algorithm } from '../../src/cvmfs/hash';
import type { Compression } from '../../src/cvmfs/object';
import { parseXattrs } from '../../src/cvmfs/xattr-blob';
import { libc } from '../../src/native/libc';
import type { ChunkSizes } from '../../src/publish/chunk-detector';
import { DEFAULT_CHUNK_SIZES } from '../../src/publish/chunk-detector';
import { describeWithFixtures } from '../support/fixtures';
import { Fixture } from '../unit/publish/repository-fixture';
import type { TreeEntry } from '../unit/publish/repository-fixture';

jest.setTimeout(120_000);

/** Makes a tree of catalog entries real. */
function unpack(tree: Map<string, TreeEntry>, target: string): void {
  const groups = new Map<string, Buffer>();
  const made: Array<[Buffer, TreeEntry]> = [];
  for (const [name, entry] of tree) {
    const at = Buffer.concat([Buffer.from(target), Buffer.from(name, 'latin1')]);
    const group = `${entry.catalogHash} ${entry.hardlinkGroup}`;
    const twin = entry.hardlinkGroup === 0 ? undefined : groups.get(group);
    if (twin !== undefined) {
      fs.linkSync(twin, at);
      continue;
    }
    groups.set(group, at);
    if (isSymlink(entry.flags)) fs.symlinkSync(entry.symlink, at);
    else if (isSpecial(entry.flags)) libc().mknod(at, entry.mode, BigInt(entry.size));
    else if (isDirectory(entry.flags)) fs.mkdirSync(at, { recursive: true });
    else fs.writeFileSync(at, entry.content!);
    fs.lchownSync(at, entry.uid, entry.gid);
    if (!isSymlink(entry.flags)) fs.chmodSync(at, entry.mode & 0o7777);
    for (const { name: key, value } of entry.xattrs === null ? [] : parseXattrs(entry.xattrs)) libc().lsetxattr(at, key, value);
    made.push([at, entry]);
  }
  // Leaves first, since a new entry touches its folder.
  for (const [at, entry] of made.reverse()) fs.lutimesSync(at, entry.mtime, entry.mtime);
}

/** What a row says, in the terms that do not depend on who numbered what. */
function row(tree: Map<string, TreeEntry>, name: string, entry: TreeEntry): unknown {
  const folder = name.slice(0, name.lastIndexOf('/') + 1);
  const twins =
    entry.hardlinkGroup === 0
      ? []
      : [...tree]
          .filter(([other, { hardlinkGroup, catalogHash }]) => {
            const same = hardlinkGroup === entry.hardlinkGroup && catalogHash === entry.catalogHash;
            return same && other.startsWith(folder) && !other.slice(folder.length).includes('/');
          })
          .map(([other]) => other)
          .sort();
  return {
    flags: entry.flags,
    // Chunked files may have the object of the whole file too, a deprecated setting of the stock publisher.
    hash: isChunked(entry.flags) ? undefined : entry.hash?.toString('hex'),
    // Of a directory it is whatever the publisher's file system said.
    size: isDirectory(entry.flags) ? 0 : entry.size,
    mode: entry.mode.toString(8),
    mtime: entry.mtime,
    linkCount: entry.linkCount,
    twins,
    uid: entry.uid,
    gid: entry.gid,
    symlink: entry.symlink.toString('latin1'),
    xattrs: entry.xattrs?.toString('hex'),
    chunkOffsets: entry.chunkOffsets,
    nested: isNestedMountpoint(entry.flags),
  };
}

const small: ChunkSizes = { min: 256 << 10, avg: 512 << 10, max: 1 << 20 };

describeWithFixtures('beside what the stock publisher wrote of the same tree', (dir) => {
  it.each<[string, Algorithm, Compression, ChunkSizes]>([
    ['golden.cvmfs.test', 'sha1', 'zlib', DEFAULT_CHUNK_SIZES],
    ['golden-plain.cvmfs.test', 'rmd160', 'none', small],
    ['golden-shake128.cvmfs.test', 'shake128', 'zlib', small],
  ])('every row is the same: %s', async (fqrn, hashAlgorithm, compression, chunks) => {
    if (process.getuid?.() !== 0) return console.warn('needs root, to make devices and owners: skipped');
    const stock = new Fixture();
    const ours = await new Fixture().create({ hashAlgorithm });
    try {
      Object.assign(stock, { storage: path.join(dir, fqrn) });
      const theirs = stock.tree();
      for (const [name, entry] of theirs) {
        // The publisher's own folder of snapshots, and what is not in the repository's data.
        if (name.startsWith('/.cvmfs/') || name === '/.cvmfs' || (isRegular(entry.flags) && isExternal(entry.flags))) theirs.delete(name);
      }
      unpack(theirs, ours.source);
      await ours.publish({ compression, chunks });
      const mine = ours.tree();
      expect([...mine.keys()].sort()).toEqual([...theirs.keys()].sort());
      const different: string[] = [];
      for (const [name, entry] of theirs) {
        if (name === '') continue; // its time and links are those of a repository with other entries
        const [expected, got] = [JSON.stringify(row(theirs, name, entry)), JSON.stringify(row(mine, name, mine.get(name)!))];
        if (expected !== got) different.push(`${JSON.stringify(name)}\n  stock ${expected}\n  ours  ${got}`);
      }
      expect(different).toEqual([]);
      expect(formatHash(ours.manifest().rootHash)).toMatch(new RegExp(hashAlgorithm === 'sha1' ? '^.{40}$' : `-${hashAlgorithm}$`));
      expect((await ours.check()).findings).toEqual([]);
    } finally {
      stock.remove();
      ours.remove();
    }
  });
});
