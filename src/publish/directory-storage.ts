/**
 * A repository in a local directory:
 *
 *     DIR/.cvmfspublished …   mutable files
 *     DIR/data/xx/yyyy…       objects
 *     DIR/data/txn/           temporary files and the lock, never served
 *
 * How a write becomes safe. Every file is written under a temporary name in `data/txn` and renamed, so a name never shows
 * half its bytes, also when the process is killed. Objects are not fsynced one by one: 20,000 of them would take minutes on
 * a disk. Instead one syncfs(2) comes before the manifest, which is fsynced by itself, file and folder: after a power
 * failure either the old manifest is there, or the new one and everything that it names. What a power failure leaves cut
 * short under an object's name is found by its size and replaced by the next publish that needs it.
 *
 * Files have mode 0666 less the umask, as those of the stock publisher, whatever mode the published file has.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../error';
import { libc, LOCK_EX, LOCK_NB } from '../native/libc';
import { syncfs } from '../native/syncfs';
import type { Lock, Storage, StoredBytes } from './storage';

/** Every temporary file of ours, so that those of other tools in the same folder are left alone. */
const TEMPORARY_PREFIX = 'mesos-cvmfs.';
const LOCK_NAME = 'mesos-cvmfs-lock';
const READ_BYTES = 1 << 20;

function missing(err: unknown): boolean {
  const code = (err as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

export class DirectoryStorage implements Storage {
  readonly place: string;
  readonly spoolDir: string;
  private sequence = 0;
  /** Folders `data/xx` known to exist: saves a system call per object. At most 256 of them. */
  private readonly folders = new Set<string>();

  constructor(directory: string) {
    this.place = path.resolve(directory);
    this.spoolDir = path.join(this.place, 'data', 'txn');
  }

  /** Makes the folders of a new repository. */
  async prepare(): Promise<void> {
    await fs.promises.mkdir(this.spoolDir, { recursive: true });
  }

  async lock(): Promise<Lock> {
    if ((await this.size('data')) === undefined)
      throw new Failure('NOT_FOUND', `there is no repository in ${this.place}`, { next: 'make one with `repo create`' });
    let handle: fs.promises.FileHandle;
    try {
      await this.prepare(); // a copy of a repository often comes without its scratch folder
      handle = await fs.promises.open(path.join(this.spoolDir, LOCK_NAME), 'a');
    } catch (err) {
      throw Failure.from(err, `cannot lock ${this.place}`);
    }
    if (!libc().flock(handle.fd, LOCK_EX | LOCK_NB)) {
      await handle.close();
      throw new Failure('FAILED_PRECONDITION', `another process is publishing to ${this.place}`, { next: 'wait for it to end' });
    }
    // We have the lock, so nobody is using them: what is left was left by a process that died.
    for (const name of await fs.promises.readdir(this.spoolDir)) {
      if (name.startsWith(TEMPORARY_PREFIX)) await fs.promises.rm(path.join(this.spoolDir, name), { recursive: true, force: true });
    }
    return { release: () => handle.close() };
  }

  async size(name: string): Promise<number | undefined> {
    try {
      return (await fs.promises.stat(path.join(this.place, name))).size;
    } catch (err) {
      if (missing(err)) return undefined;
      throw Failure.from(err, `cannot look at ${name}`);
    }
  }

  async putObject(name: string, content: StoredBytes): Promise<boolean> {
    const size = 'bytes' in content ? content.bytes.length : content.size;
    if ((await this.size(name)) === size) {
      if ('spool' in content) await fs.promises.unlink(content.spool);
      return false;
    }
    const target = path.join(this.place, name);
    const folder = path.dirname(target);
    if (!this.folders.has(folder)) {
      await fs.promises.mkdir(folder, { recursive: true });
      this.folders.add(folder);
    }
    const temporary = 'spool' in content ? content.spool : this.temporaryName();
    if ('bytes' in content) await writeFile(temporary, content.bytes, name);
    await fs.promises.rename(temporary, target);
    return true;
  }

  async putMutable(name: string, bytes: Buffer): Promise<void> {
    const temporary = this.temporaryName();
    await writeFile(temporary, bytes, name);
    await fsync(temporary);
    await fs.promises.rename(temporary, path.join(this.place, name));
    await fsync(this.place);
  }

  async read(name: string, maxBytes: number): Promise<Buffer | undefined> {
    const size = await this.size(name);
    if (size === undefined) return undefined;
    if (size > maxBytes) {
      throw new Failure('RESOURCE_EXHAUSTED', `${name} in ${this.place} has ${size} bytes, more than the ${maxBytes} it may have`);
    }
    return fs.promises.readFile(path.join(this.place, name));
  }

  async *stream(name: string): AsyncIterable<Buffer> {
    try {
      for await (const piece of fs.createReadStream(path.join(this.place, name), { highWaterMark: READ_BYTES })) yield piece as Buffer;
    } catch (err) {
      if (missing(err)) throw new Failure('NOT_FOUND', `${name} is not in ${this.place}`);
      throw Failure.from(err, `cannot read ${name}`);
    }
  }

  async *list(): AsyncIterable<{ name: string; size: number }> {
    const data = path.join(this.place, 'data');
    for (const folder of await fs.promises.readdir(data)) {
      if (!/^[0-9a-f]{2}$/.test(folder)) continue;
      for (const file of await fs.promises.readdir(path.join(data, folder))) {
        const size = await this.size(`data/${folder}/${file}`);
        if (size !== undefined) yield { name: `data/${folder}/${file}`, size };
      }
    }
  }

  async flush(): Promise<void> {
    const handle = await fs.promises.open(this.place, 'r');
    try {
      await syncfs(handle.fd);
    } finally {
      await handle.close();
    }
  }

  private temporaryName(): string {
    this.sequence += 1;
    return path.join(this.spoolDir, `${TEMPORARY_PREFIX}${process.pid}.${this.sequence}`);
  }
}

/** Name of a new temporary file in a storage's spool folder, for the workers that write there. */
export function spoolName(spoolDir: string, unique: string): string {
  return path.join(spoolDir, `${TEMPORARY_PREFIX}${process.pid}.${unique}`);
}

async function writeFile(file: string, bytes: Buffer, name: string): Promise<void> {
  try {
    await fs.promises.writeFile(file, bytes, { flag: 'wx' });
  } catch (err) {
    await fs.promises.rm(file, { force: true });
    throw Failure.from(err, `cannot write ${name}`);
  }
}

async function fsync(file: string): Promise<void> {
  const handle = await fs.promises.open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
