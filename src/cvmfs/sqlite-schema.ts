/**
 * The schema of an SQLite file, read without SQLite (https://www.sqlite.org/fileformat2.html), because opening is
 * already dangerous with a hostile file: SQLite reads the whole schema table, and with it `sqlite_stat1`, before the
 * first statement, and a b-tree whose pages share their children has 300^18 rows in 80 kB. Here every page is entered
 * once, and what a catalog or history never has is refused before SQLite sees the file.
 *
 *     header, 100 bytes: "SQLite format 3\0", page size at 16, write and read version at 18 (1 = no WAL),
 *                        reserved bytes per page at 20, text encoding at 56 (1 = UTF-8)
 *     page 1 from byte 100: the schema's b-tree; page type 5 = inner, 13 = leaf
 *     leaf cell: varint payload bytes, varint rowid, record (type, name, table, root page, SQL text)
 */
import * as fs from 'node:fs';

export interface SchemaObject {
  readonly type: 'table' | 'index';
  /** Lower case: SQLite compares names so. */
  readonly name: string;
  /** The table that an index is for; lower case. */
  readonly table: string;
  /** Where its b-tree begins, as the row says; 0 when that is no page number. */
  readonly rootPage: number;
  /** Empty for the indices that SQLite makes by itself. */
  readonly sql: string;
}

const MAGIC = 'SQLite format 3\0';
const HEADER_BYTES = 100;
const INNER = 5;
const LEAF = 13;
/** Real catalogs have 14 rows on one page, with the 1 KiB pages of old ones on four. */
const MAX_PAGES = 32;
const MAX_OBJECTS = 64;

/** Thrown texts say what is wrong with the file, without naming it. */
export function readSchema(fd: number): SchemaObject[] {
  const header = Buffer.alloc(HEADER_BYTES);
  const whole = fs.readSync(fd, header, 0, HEADER_BYTES, 0) === HEADER_BYTES;
  if (!whole || header.toString('latin1', 0, 16) !== MAGIC) throw new Error('it is not an SQLite file');
  // A WAL file would make SQLite write files of its own beside this one, and read one that somebody else put there.
  if (header[18] !== 1 || header[19] !== 1) throw new Error('it is in write-ahead mode');
  if (header.readUInt32BE(56) !== 1) throw new Error('its text is not UTF-8');
  const stored = header.readUInt16BE(16);
  const pageBytes = stored === 1 ? 65536 : stored;
  if (pageBytes < 512 || (pageBytes & (pageBytes - 1)) !== 0) throw new Error(`its page size is ${pageBytes}`);
  const usable = pageBytes - header[20]!;

  const objects: SchemaObject[] = [];
  const seen = new Set<number>([1]);
  const queue = [1];
  for (let number = queue.shift(); number !== undefined; number = queue.shift()) {
    const page = Buffer.alloc(pageBytes);
    if (fs.readSync(fd, page, 0, pageBytes, (number - 1) * pageBytes) !== pageBytes) throw new Error('it is cut short');
    const start = number === 1 ? HEADER_BYTES : 0;
    const kind = page[start];
    if (kind !== LEAF && kind !== INNER) throw new Error('its schema is damaged');
    const cells = page.readUInt16BE(start + 3);
    const first = start + (kind === LEAF ? 8 : 12);
    if (first + 2 * cells > usable) throw new Error('its schema is damaged');
    const children: number[] = [];
    for (let i = 0; i < cells; i += 1) {
      const cell = page.readUInt16BE(first + 2 * i);
      if (cell + 4 > usable) throw new Error('its schema is damaged');
      if (kind === INNER) children.push(page.readUInt32BE(cell));
      else objects.push(readObject(page, cell, usable));
      if (objects.length > MAX_OBJECTS) throw new Error(`its schema has more than ${MAX_OBJECTS} objects`);
    }
    if (kind === INNER) children.push(page.readUInt32BE(start + 8));
    for (const child of children) {
      if (child < 1 || seen.has(child)) throw new Error('its schema is a loop');
      seen.add(child);
      queue.push(child);
      if (seen.size > MAX_PAGES) throw new Error(`its schema fills more than ${MAX_PAGES} pages`);
    }
  }
  return objects;
}

function readObject(page: Buffer, cell: number, usable: number): SchemaObject {
  const payload = readVarint(page, cell);
  const rowid = readVarint(page, payload.end);
  const start = rowid.end;
  // Beyond this a payload continues on overflow pages; no statement of a catalog is that long.
  if (payload.value > usable - 35 || start + payload.value > usable) throw new Error('its schema has an overlong row');
  const headerBytes = readVarint(page, start);
  let at = headerBytes.end;
  let value = start + headerBytes.value;
  const texts: string[] = [];
  let rootPage = 0;
  for (let column = 0; column < 5; column += 1) {
    if (at >= start + headerBytes.value) throw new Error('its schema is damaged');
    const serial = readVarint(page, at);
    at = serial.end;
    const bytes = serialBytes(serial.value);
    if (value + bytes > start + payload.value) throw new Error('its schema is damaged');
    // A small integer, big-endian: nothing has more pages than four bytes count.
    if (serial.value === 9) rootPage = 1;
    if (serial.value >= 1 && serial.value <= 4) rootPage = page.readIntBE(value, bytes);
    texts.push(serial.value >= 13 && serial.value % 2 === 1 ? page.toString('utf8', value, value + bytes) : '');
    value += bytes;
  }
  const [type, name, table, , sql] = texts as [string, string, string, string, string];
  if (type !== 'table' && type !== 'index') {
    throw new Error(`it has a ${JSON.stringify(type.slice(0, 20))}, ${JSON.stringify(name.slice(0, 60))}, where only tables and indices belong`);
  }
  const object = { type, name: name.toLowerCase(), table: table.toLowerCase(), rootPage, sql } as const;
  if (object.name.startsWith('sqlite_stat')) throw new Error('it has statistics for a query planner');
  // The statement creates what it says, whatever the type column claims.
  if (sql !== '' && !/^CREATE (TABLE|(UNIQUE )?INDEX)\s/i.test(sql)) throw new Error(`${JSON.stringify(name.slice(0, 60))} is not an ordinary ${type}`);
  return object;
}

function serialBytes(serial: number): number {
  if (serial >= 12) return Math.floor((serial - 12) / 2);
  return [0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0][serial]!;
}

/** Big-endian, 7 bits a byte, at most 9 bytes; all that we read is far below 2^53. */
function readVarint(page: Buffer, at: number): { value: number; end: number } {
  let value = 0;
  for (let i = 0; i < 9; i += 1) {
    const byte = page[at + i];
    if (byte === undefined) throw new Error('its schema is damaged');
    value = i === 8 ? value * 256 + byte : value * 128 + (byte & 127);
    if (i === 8 || byte < 128) return { value, end: at + i + 1 };
  }
  throw new Error('its schema is damaged');
}
