'use strict';
/**
 * An image's root file system from this host's own user land: programs, libraries and configuration, copied into a folder.
 *
 * Copied, not hard-linked: a link would change the host's inodes, and the demo changes files of its image. Only what every
 * user may read is taken, which leaves passwords and private keys out.
 */
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** The image is at least this large where the host has that much, and not much larger: a demo is not to last for ever. */
const WANTED_BYTES = 300e6;
/** One file larger than this is left out, so that many smaller ones find room; they are taken where the host is small. */
const LARGE_FILE_BYTES = 8e6;
const MAX_ENTRIES = 40_000;

/** What the containers run; with the libraries that these need. */
const PROGRAMS = ['sh', 'cat', 'ls', 'env', 'uname', 'id', 'sleep', 'wc', 'head', 'sort', 'date', 'mkdir', 'touch'];
/** In this order until there is enough. */
const ROOTS = ['/etc', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/usr/bin', '/usr/sbin', '/usr/lib', '/usr/libexec', '/usr/lib64', '/usr/share'];
/** Where a container's own file systems are mounted. */
const MOUNT_POINTS = [['proc', 0o555], ['sys', 0o555], ['dev', 0o755], ['run', 0o755], ['root', 0o700], ['tmp', 0o1777]];
/** Folders that become catalogs of their own, as publishers of images do it: what is not entered is not fetched. */
const OWN_CATALOGS = ['.', 'usr/share', 'usr/lib/python3', 'usr/lib/gcc'];

class UserLand {
  #top;
  #onProgress;
  #done = new Set();
  files = 0;
  entries = 0;
  bytes = 0;

  /**
   * @param {string} top an empty folder
   * @param {(bytes: number, files: number, fraction: number) => void} onProgress
   */
  constructor(top, onProgress) {
    this.#top = top;
    this.#onProgress = onProgress;
  }

  async copy() {
    for (const program of PROGRAMS) {
      const found = this.#which(program);
      if (found !== undefined) for (const file of [found, ...librariesOf(found)]) this.#takeWithParents(file);
    }
    for (const limit of [LARGE_FILE_BYTES, Infinity]) for (const root of ROOTS) await this.#takeTree(root, limit);
    for (const [name, mode] of MOUNT_POINTS) {
      fs.mkdirSync(path.join(this.#top, name), { recursive: true });
      fs.chmodSync(path.join(this.#top, name), mode);
    }
    for (const folder of OWN_CATALOGS) if (fs.existsSync(path.join(this.#top, folder))) fs.writeFileSync(path.join(this.#top, folder, '.cvmfscatalog'), '');
  }

  #which(program) {
    return ['/usr/bin', '/bin'].map((dir) => path.join(dir, program)).find((file) => fs.existsSync(file));
  }

  get #full() {
    return this.bytes >= WANTED_BYTES || this.entries >= MAX_ENTRIES;
  }

  async #takeTree(at, largeFileBytes) {
    if (this.#full) return;
    const stat = fs.lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isDirectory()) {
      if (stat.size <= largeFileBytes) this.#takeWithParents(at);
      return;
    }
    if ((stat.mode & 0o005) !== 0o005) return;
    // Lets a signal be noticed.
    await new Promise(setImmediate);
    for (const name of fs.readdirSync(at, { encoding: 'buffer' }).sort(Buffer.compare)) {
      const text = name.toString();
      // Names that are no text are not worth the trouble here.
      if (Buffer.from(text).equals(name)) await this.#takeTree(path.join(at, text), largeFileBytes);
    }
  }

  /** One file or link, its folders, and where a link leads to. */
  #takeWithParents(at) {
    if (this.#done.has(at)) return;
    this.#done.add(at);
    const parent = path.dirname(at);
    if (parent !== '/') {
      const real = fs.realpathSync(parent);
      this.#takeFolder(parent);
      // Below a link to a folder, such as /bin: the link was taken, the file belongs to where it leads.
      if (real !== parent) return this.#takeWithParents(path.join(real, path.basename(at)));
    }
    const stat = fs.lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) return;
    const to = path.join(this.#top, at);
    if (stat.isSymbolicLink()) {
      fs.symlinkSync(fs.readlinkSync(at), to);
      this.#finish(to, stat);
      const target = fs.statSync(at, { throwIfNoEntry: false });
      if (target?.isFile() && ROOTS.some((root) => fs.realpathSync(at).startsWith(`${root}/`))) this.#takeWithParents(fs.realpathSync(at));
    } else if (stat.isFile() && (stat.mode & 0o004) !== 0) {
      fs.copyFileSync(at, to, fs.constants.COPYFILE_FICLONE);
      this.#finish(to, stat);
      this.files += 1;
      this.bytes += stat.size;
      this.#onProgress(this.bytes, this.files, this.bytes / WANTED_BYTES);
    }
  }

  #takeFolder(at) {
    if (at === '/' || this.#done.has(at)) return;
    this.#done.add(at);
    this.#takeFolder(path.dirname(at));
    const stat = fs.lstatSync(at);
    const to = path.join(this.#top, at);
    if (stat.isSymbolicLink()) {
      const real = fs.realpathSync(at);
      this.#takeFolder(real);
      if (fs.lstatSync(to, { throwIfNoEntry: false }) === undefined) fs.symlinkSync(fs.readlinkSync(at), to);
    } else {
      fs.mkdirSync(to, { recursive: true });
    }
    this.#finish(to, stat);
  }

  #finish(to, stat) {
    this.entries += 1;
    fs.lchownSync(to, stat.uid, stat.gid);
    if (stat.isSymbolicLink()) return;
    fs.chmodSync(to, stat.mode & 0o7777);
    fs.utimesSync(to, stat.atime, stat.mtime);
  }
}

/** The loader and the libraries of a program. */
function librariesOf(program) {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  return [...(stdout ?? '').matchAll(/(\/\S+) \(0x/g)].map(([, file]) => file);
}

/**
 * Copies this host's user land into a folder; answers how much it is.
 * @param {string} top
 * @param {(bytes: number, files: number, fraction: number) => void} onProgress
 */
async function copyUserLand(top, onProgress) {
  const land = new UserLand(top, onProgress);
  await land.copy();
  return { bytes: land.bytes, files: land.files, entries: land.entries };
}

module.exports = { copyUserLand };
