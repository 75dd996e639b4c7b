/**
 * The pages of an SQLite file (https://www.sqlite.org/fileformat2.html), read with pread(2) from a descriptor that is
 * kept, so that a file which is evicted and unlinked stays readable:
 *
 *     page n at (n − 1) × page size; 512 to 65536 bytes, of which the last `reserved` belong to nobody
 *     a b-tree page, from byte 0 (page 1: from 100)
 *         0 kind: 2 index inner, 5 table inner, 10 index leaf, 13 table leaf
 *         3 u16 cells   8 u32 rightmost child (inner only)
 *         8 or 12: u16 per cell, where it is in the page
 *
 * Pages are kept in a pool that all files of a thread share. The kernel's page cache holds the rest.
 */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import type { Code } from '../../error';
import { readSchema } from '../sqlite-schema';
import type { SchemaObject } from '../sqlite-schema';

export const INDEX_INNER = 2;
export const TABLE_INNER = 5;
export const INDEX_LEAF = 10;
export const TABLE_LEAF = 13;

/** SQLite refuses pages with fewer usable bytes. */
const USABLE_MIN = 480;

/** One page in memory. Valid until another page is asked for, of whatever file of the pool. */
export class Page {
  readonly bytes: Buffer;
  file: PageFile | null = null;
  number = 0;
  /** Looked at since the pool's hand came by. */
  used = true;
  kind = 0;
  cells = 0;
  /** Where the cell pointers begin. */
  first = 0;

  constructor(bytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytes);
  }
}

/** The pages that a thread keeps, of all its files together: second chance, so a hit costs one store. */
export class PagePool {
  readonly #bytesMax: number;
  readonly #ring: Page[] = [];
  #bytes = 0;
  #hand = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A page of this size that nobody has any more. */
  take(pageBytes: number): Page {
    while (this.#bytes + pageBytes > this.#bytesMax && this.#ring.length > 0) {
      this.#hand = this.#hand < this.#ring.length ? this.#hand : 0;
      const page = this.#ring[this.#hand]!;
      if (page.used && page.file !== null) {
        page.used = false;
        this.#hand += 1;
        continue;
      }
      page.file?.forget(page.number);
      page.file = null;
      if (page.bytes.length === pageBytes) {
        this.#hand += 1;
        return page;
      }
      // A file with pages of another size came.
      this.#bytes -= page.bytes.length;
      const last = this.#ring.pop()!;
      if (last !== page) this.#ring[this.#hand] = last;
    }
    const page = new Page(pageBytes);
    this.#ring.push(page);
    this.#bytes += pageBytes;
    return page;
  }
}

export class PageFile {
  readonly schema: readonly SchemaObject[];
  /** Bytes of a page that hold something. */
  readonly usable: number;
  readonly pageBytes: number;
  readonly #fd: number;
  readonly #code: Code;
  readonly #what: string;
  readonly #pool: PagePool;
  readonly #pages = new Map<number, Page>();
  readonly #pageCount: number;
  #overflow: Buffer | null = null;

  /** `code` is the failure of a file that is not what it should be; `what` names it in messages. */
  constructor(file: string, code: Code, what: string, pool: PagePool) {
    this.#code = code;
    this.#what = what;
    this.#pool = pool;
    try {
      this.#fd = fs.openSync(file, 'r');
    } catch (error) {
      throw this.#unreadable(error);
    }
    try {
      this.schema = readSchema(this.#fd);
      const header = Buffer.alloc(100);
      fs.readSync(this.#fd, header, 0, 100, 0);
      const stored = header.readUInt16BE(16);
      this.pageBytes = stored === 1 ? 65536 : stored;
      this.usable = this.pageBytes - header[20]!;
      if (this.usable < USABLE_MIN) throw this.refuse(`only ${this.usable} bytes of its pages are used`);
      this.#pageCount = Math.floor(fs.fstatSync(this.#fd).size / this.pageBytes);
    } catch (error) {
      this.close();
      if (error instanceof Failure) throw error;
      if (typeof (error as NodeJS.ErrnoException).syscall === 'string') throw this.#unreadable(error);
      throw this.refuse((error as Error).message);
    }
  }

  /** Bytes of the whole file: nothing in it is larger. */
  get bytes(): number {
    return this.#pageCount * this.pageBytes;
  }

  refuse(why: string): Failure {
    return new Failure(this.#code, `${this.#what} is damaged or hostile: ${why}`);
  }

  /** A b-tree page, its header checked: every cell pointer is inside the page. */
  page(number: number): Page {
    const known = this.#pages.get(number);
    if (known !== undefined) {
      known.used = true;
      return known;
    }
    return this.#load(number);
  }

  #load(number: number): Page {
    if (!(number >= 1 && number <= this.#pageCount)) throw this.refuse(`it refers to page ${number} of ${this.#pageCount}`);
    const page = this.#pool.take(this.pageBytes);
    this.#read(page.bytes, number);
    const start = number === 1 ? 100 : 0;
    const kind = page.bytes[start]!;
    if (kind !== INDEX_INNER && kind !== TABLE_INNER && kind !== INDEX_LEAF && kind !== TABLE_LEAF) throw this.refuse(`page ${number} is of no b-tree`);
    page.kind = kind;
    page.cells = page.bytes.readUInt16BE(start + 3);
    page.first = start + (kind === INDEX_INNER || kind === TABLE_INNER ? 12 : 8);
    if (page.first + 2 * page.cells > this.usable) throw this.refuse(`page ${number} has ${page.cells} cells, more than it can hold`);
    page.number = number;
    page.file = this;
    page.used = true;
    this.#pages.set(number, page);
    return page;
  }

  /** An overflow page, valid until the next one. Not kept: few rows have any. */
  overflow(number: number): Buffer {
    if (!(number >= 1 && number <= this.#pageCount)) throw this.refuse(`it refers to page ${number} of ${this.#pageCount}`);
    this.#overflow ??= Buffer.allocUnsafeSlow(this.pageBytes);
    this.#read(this.#overflow, number);
    return this.#overflow;
  }

  #read(into: Buffer, number: number): void {
    let got: number;
    try {
      got = fs.readSync(this.#fd, into, 0, this.pageBytes, (number - 1) * this.pageBytes);
    } catch (error) {
      throw this.#unreadable(error);
    }
    if (got !== this.pageBytes) throw this.refuse('it is cut short');
  }

  /** For the pool: the page has been given to somebody else. */
  forget(number: number): void {
    this.#pages.delete(number);
  }

  close(): void {
    for (const page of this.#pages.values()) page.file = null;
    this.#pages.clear();
    fs.closeSync(this.#fd);
  }

  #unreadable(error: unknown): Failure {
    const { code: errno, message } = error as NodeJS.ErrnoException;
    return new Failure('SYSTEM', `${this.#what} cannot be read: ${message}`, { cause: error, data: { errno: errno ?? '' } });
  }
}
