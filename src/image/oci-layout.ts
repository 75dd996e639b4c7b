/** An OCI layout directory as a source of configuration objects: `<path>/blobs/sha256/<digest>`. */
import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { Failure } from '../error';
import type { ConfigSource } from './config-source';
import { MAX_CONFIG_BYTES } from './image-manifest';

export class OciLayout implements ConfigSource {
  constructor(
    readonly name: string,
    private readonly directory: string,
  ) {}

  async fetch(digest: string): Promise<Buffer | undefined> {
    const file = path.join(this.directory, 'blobs', 'sha256', digest);
    let handle: fs.FileHandle;
    try {
      // A fifo of that name would hang an open without O_NONBLOCK for ever.
      handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    } catch (reason) {
      const code = (reason as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw new Failure('FAILED_PRECONDITION', `${file} can not be opened: ${(reason as Error).message}`, { cause: reason });
    }
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new Failure('FAILED_PRECONDITION', `${file} is not a file`);
      if (stat.size > MAX_CONFIG_BYTES) throw new Failure('FAILED_PRECONDITION', `${file} has ${stat.size} bytes, and ${MAX_CONFIG_BYTES} are allowed`);
      const bytes = Buffer.alloc(stat.size);
      const { bytesRead } = await handle.read(bytes, 0, stat.size, 0);
      return bytes.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  }
}
