/** The few file calls that reading a configuration needs, passed in so that tests bring their own and nothing else is read. */
import * as fs from 'node:fs';
import { Failure } from '../error';

/** No configuration, key, map or blacklist is bigger; `/dev/zero` under a key's name must not fill the memory. */
export const MAX_CONFIG_FILE_BYTES = 1024 * 1024;

export interface ConfigFiles {
  /** The text of a file, or undefined when it does not exist. Throws CONFIG_INVALID when it can not be read, is too big or not UTF-8. */
  read(file: string): string | undefined;
  /** Names in a folder, sorted by bytes; empty when there is none. */
  list(dir: string): string[];
}

export const hostFiles: ConfigFiles = {
  read(file) {
    let bytes: Buffer;
    try {
      bytes = readBounded(file);
    } catch (error) {
      if (error instanceof Failure) throw error;
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw new Failure('CONFIG_INVALID', `can not read ${file}: ${code ?? String(error)}`, { cause: error, next: 'check its owner and mode' });
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new Failure('CONFIG_INVALID', `${file} is not a UTF-8 text`);
    }
  },
  list(dir) {
    try {
      return fs.readdirSync(dir).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return [];
      throw new Failure('CONFIG_INVALID', `can not list ${dir}: ${code ?? String(error)}`, { cause: error, next: 'check its owner and mode' });
    }
  },
};

function readBounded(file: string): Buffer {
  // O_NONBLOCK, so that a fifo under the name does not hang the start.
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new Failure('CONFIG_INVALID', `${file} is not a regular file`);
    if (stat.size > MAX_CONFIG_FILE_BYTES) throw new Failure('CONFIG_INVALID', `${file} has ${stat.size} bytes, the limit is ${MAX_CONFIG_FILE_BYTES}`);
    const bytes = Buffer.alloc(MAX_CONFIG_FILE_BYTES + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length < bytes.length; length += got) got = fs.readSync(fd, bytes, length, bytes.length - length, null);
    if (length > MAX_CONFIG_FILE_BYTES) throw new Failure('CONFIG_INVALID', `${file} is over the limit of ${MAX_CONFIG_FILE_BYTES} bytes`);
    return bytes.subarray(0, length);
  } finally {
    fs.closeSync(fd);
  }
}
