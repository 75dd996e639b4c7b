/**
 * Databases (catalogs, histories) that the cache's disk has no room for. SQLite opens files only, so they go as files into
 * the mount's own folder, which is memory (`run_dir` is a tmpfs):
 *
 *     <run_dir>/mounts/<id>/spill-<object name>
 *
 * One thread of a server writes, all read. What a predecessor left is removed: nobody knows how it died.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../error';

/** All of them together; the oldest go. An open one stays readable until it is closed. */
const SPILL_BYTES_MAX = 64 << 20;
const PREFIX = 'spill-';

export class Spill {
  readonly #dir: string;
  readonly #maxBytes: number;
  /** Bytes by object name, the oldest first; of the writing thread. */
  readonly #kept = new Map<string, number>();
  #bytes = 0;

  constructor(dir: string, maxBytes: number = SPILL_BYTES_MAX) {
    this.#dir = dir;
    this.#maxBytes = maxBytes;
  }

  /** Path of the database when it is here; for any thread. */
  find(name: string): string | null {
    const file = this.#file(name);
    return fs.existsSync(file) ? file : null;
  }

  /** True when it is here; of the writing thread. */
  has(name: string): boolean {
    return this.#kept.has(name);
  }

  /** Keeps a database. NO_SPACE when it is larger than everything that may be kept. */
  put(name: string, bytes: Buffer): void {
    if (bytes.length > this.#maxBytes) throw new Failure('NO_SPACE', `${name} has ${bytes.length} bytes, for which there is room neither in the cache nor in memory`, { next: 'free space on the disk of the cache' });
    this.remove(name);
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes + bytes.length <= this.#maxBytes) break;
      this.remove(oldest);
    }
    const temp = `${this.#file(name)}.tmp`;
    fs.writeFileSync(temp, bytes, { mode: 0o600 });
    fs.renameSync(temp, this.#file(name));
    this.#kept.set(name, bytes.length);
    this.#bytes += bytes.length;
  }

  /** True when it was here. */
  remove(name: string): boolean {
    const bytes = this.#kept.get(name);
    if (bytes === undefined) return false;
    fs.rmSync(this.#file(name), { force: true });
    this.#kept.delete(name);
    this.#bytes -= bytes;
    return true;
  }

  /** Removes what a predecessor left. */
  clear(): void {
    for (const file of fs.readdirSync(this.#dir)) if (file.startsWith(PREFIX)) fs.rmSync(path.join(this.#dir, file), { force: true });
  }

  #file(name: string): string {
    return path.join(this.#dir, `${PREFIX}${name}`);
  }
}
