/**
 * The statements that made a table or an index, as far as catalogs have them:
 *
 *     CREATE TABLE name (column TYPE, column TEXT PRIMARY KEY, …, [CONSTRAINT name] PRIMARY KEY (column, …), [CONSTRAINT name] FOREIGN KEY …)
 *     CREATE [UNIQUE] INDEX name ON table (column, …)
 *
 * Anything else (defaults, collations, computed columns, row numbers by another name, WITHOUT ROWID, DESC, WHERE,
 * comments, …) makes `null`: then SQLite reads the file, which knows what it means.
 */

export interface TableShape {
  /** In the order of the values in a row. Names in lower case, types in upper case. */
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>;
  /** Empty when there is none. */
  readonly primaryKey: readonly string[];
}

export interface IndexShape {
  readonly table: string;
  readonly columns: readonly string[];
}

const TYPES = new Set(['INTEGER', 'INT', 'TEXT', 'BLOB']);
const CONSTRAINTS = new Set(['CONSTRAINT', 'PRIMARY', 'UNIQUE', 'CHECK', 'FOREIGN']);
const ROWID_NAMES = new Set(['rowid', '_rowid_', 'oid']);

/** Words, and the signs `(`, `)`, `,`; null when there is anything else. */
function tokens(sql: string): string[] | null {
  const found: string[] = [];
  const pattern = /\s*(?:([A-Za-z_][A-Za-z0-9_]*)|"([A-Za-z_][A-Za-z0-9_]*)"|([(),]))/y;
  while (pattern.lastIndex < sql.length) {
    if (/^\s*$/.test(sql.slice(pattern.lastIndex))) break;
    const match = pattern.exec(sql);
    if (match === null) return null;
    found.push(match[1] ?? match[2] ?? match[3]!);
  }
  return found;
}

/** Names between brackets; where the list ended. */
function list(all: readonly string[], from: number): { names: string[]; end: number } | null {
  if (all[from] !== '(') return null;
  const names: string[] = [];
  for (let at = from + 1; ; at += 2) {
    const name = all[at];
    if (name === undefined || '(),'.includes(name)) return null;
    names.push(name.toLowerCase());
    if (all[at + 1] === ')') return { names, end: at + 2 };
    if (all[at + 1] !== ',') return null;
  }
}

const is = (token: string | undefined, word: string): boolean => token !== undefined && token.toUpperCase() === word;

export function parseTable(sql: string): TableShape | null {
  const all = tokens(sql);
  if (all === null || !is(all[0], 'CREATE') || !is(all[1], 'TABLE') || all[3] !== '(') return null;
  const columns: Array<{ name: string; type: string }> = [];
  let primaryKey: string[] | null = null;
  let keyColumn: string | null = null;
  let at = 4;
  for (;;) {
    const word = all[at];
    if (word === undefined || '(),'.includes(word)) return null;
    if (!CONSTRAINTS.has(word.toUpperCase())) {
      const type = all[at + 1]?.toUpperCase();
      if (type === undefined || !TYPES.has(type) || primaryKey !== null || (keyColumn !== null && is(all[at + 2], 'PRIMARY')) || ROWID_NAMES.has(word.toLowerCase())) return null;
      columns.push({ name: word.toLowerCase(), type });
      at += 2;
      // A row number by another name when the type is INTEGER, a key with an index of its own otherwise.
      if (type === 'TEXT' && is(all[at], 'PRIMARY') && is(all[at + 1], 'KEY')) {
        keyColumn = word.toLowerCase();
        at += 2;
      }
    } else {
      if (is(word, 'CONSTRAINT')) at += 2;
      if (is(all[at], 'PRIMARY') && is(all[at + 1], 'KEY') && primaryKey === null && keyColumn === null) {
        const keys = list(all, at + 2);
        if (keys === null) return null;
        primaryKey = keys.names;
        at = keys.end;
      } else if (is(all[at], 'FOREIGN') && is(all[at + 1], 'KEY')) {
        const own = list(all, at + 2);
        if (own === null || !is(all[own.end], 'REFERENCES')) return null;
        const theirs = list(all, own.end + 2);
        if (theirs === null) return null;
        at = theirs.end;
      } else return null;
    }
    if (all[at] === ')') break;
    if (all[at] !== ',') return null;
    at += 1;
  }
  if (at !== all.length - 1 || new Set(columns.map(({ name }) => name)).size !== columns.length) return null;
  return { columns, primaryKey: primaryKey ?? (keyColumn === null ? [] : [keyColumn]) };
}

export function parseIndex(sql: string): IndexShape | null {
  const all = tokens(sql);
  if (all === null || !is(all[0], 'CREATE')) return null;
  const from = is(all[1], 'UNIQUE') ? 2 : 1;
  const table = all[from + 3];
  if (!is(all[from], 'INDEX') || !is(all[from + 2], 'ON') || table === undefined) return null;
  const keys = list(all, from + 4);
  return keys === null || keys.end !== all.length ? null : { table: table.toLowerCase(), columns: keys.names };
}
