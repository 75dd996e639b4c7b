/**
 * The small files of a repository that change, kept for mounting while every server is down:
 *
 *     repositories/<fqrn>/manifest     .cvmfspublished as it was accepted
 *     repositories/<fqrn>/whitelist    .cvmfswhitelist as it was accepted
 *     repositories/<fqrn>/breadcrumb   the newest revision ever accepted (spec 1.2), against rollback
 *
 * Their signatures are checked again by whoever reads them; here only the file is whole. They are few and rare, so unlike
 * objects they are synced to the disk before they get their name: a crash leaves the old or the new one.
 */
import * as fs from 'node:fs';
import { Failure } from '../error';
import { makeOwnFolder } from './cache-dir';
import { TempFiles } from './temp-file';

export type RepositoryFile = 'manifest' | 'whitelist' | 'breadcrumb';

/** As in the design: what may become a path or a URL. */
const FQRN = /^[A-Za-z0-9]([A-Za-z0-9_-]|\.(?!\.))*[A-Za-z0-9]$/;
const MAX_FQRN_CHARACTERS = 60;
const FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

export class RepositoryFiles {
  private readonly folder: string;
  private readonly temps: TempFiles;

  /** `dir` is a cache directory that has been opened; INVALID_ARGUMENT for a name that is no repository's. */
  constructor(
    dir: string,
    readonly fqrn: string,
    private readonly maxBytes = 1 << 20,
  ) {
    if (fqrn.length > MAX_FQRN_CHARACTERS || !FQRN.test(fqrn)) throw new Failure('INVALID_ARGUMENT', `not the name of a repository: ${JSON.stringify(fqrn.slice(0, 100))}`);
    this.folder = `${dir}/repositories/${fqrn}`;
    this.temps = new TempFiles(`${dir}/txn`);
  }

  /** The whole file; null when it is not there, or is longer than any such file can be. */
  read(name: RepositoryFile): Buffer | null {
    let fd: number;
    try {
      fd = fs.openSync(`${this.folder}/${name}`, FLAGS);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return null;
      throw Failure.from(error, `the kept ${name} of ${this.fqrn}`);
    }
    try {
      const stat = fs.fstatSync(fd);
      return stat.isFile() && stat.size <= this.maxBytes ? fs.readFileSync(fd) : null;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Replaces the file as a whole. NO_SPACE, SYSTEM; the old one stays then. */
  write(name: RepositoryFile, content: Uint8Array): void {
    if (content.length > this.maxBytes) throw new Failure('OBJECT_TOO_BIG', `the ${name} of ${this.fqrn} has ${content.length} bytes, more than ${this.maxBytes}`);
    try {
      makeOwnFolder(this.folder);
      const temp = this.temps.create();
      try {
        for (let at = 0; at < content.length; ) at += fs.writeSync(temp.fd, content, at);
        fs.fsyncSync(temp.fd);
        fs.renameSync(temp.path, `${this.folder}/${name}`);
      } catch (error) {
        fs.rmSync(temp.path, { force: true });
        throw error;
      } finally {
        fs.closeSync(temp.fd);
      }
    } catch (error) {
      throw Failure.from(error, `keeping the ${name} of ${this.fqrn}`);
    }
  }

  /** Forgets the repository. */
  remove(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
