/** docs/errors.md and docs/commands.md say what the program does; `UPDATE_DOCS=1` writes the table of errors anew. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { status as grpcStatus } from '@grpc/grpc-js';
import { COMMANDS, GLOBAL_OPTIONS } from '../../../src/cli/commands';
import type { OptionSpec } from '../../../src/cli/commands';
import { CODES } from '../../../src/error';
import type { Code } from '../../../src/error';

const TOP = path.resolve(__dirname, '../../..');
const read = (name: string): string => fs.readFileSync(path.join(TOP, name), 'utf8');

/** The meaning of each code stands before it in the source. */
function meanings(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, comment = '', code = ''] of read('src/error.ts').matchAll(/^ {2}\/\*\* (.*) \*\/\n {2}([A-Z_]+): /gm)) found.set(code, comment);
  return found;
}

function errorTable(): string {
  const grpc = Object.fromEntries(Object.entries(grpcStatus).map(([name, number]) => [number, name]));
  const errno = Object.fromEntries(Object.entries(os.constants.errno).map(([name, number]) => [number, name]));
  const rows = (Object.keys(CODES) as Code[]).map((code) => {
    const row = CODES[code];
    return `| \`${code}\` | ${row.exit} | ${grpc[row.grpc]} | ${errno[row.errno]} | ${row.http} | ${meanings().get(code)} |\n`;
  });
  return ['| code | exit | gRPC status | errno | HTTP | meaning |\n', '|---|---|---|---|---|---|\n', ...rows].join('');
}

describe('docs/errors.md', () => {
  it('has the table that src/error.ts stands for', () => {
    const file = path.join(TOP, 'docs/errors.md');
    if (process.env['UPDATE_DOCS'] !== undefined) fs.writeFileSync(file, read('docs/errors.md').replace(/\| code \| exit[\s\S]*?\n(?=\n|$)/, () => errorTable()));
    expect(read('docs/errors.md')).toContain(`\n\n${errorTable()}`);
  });

  it('knows a meaning for every code', () => {
    expect([...meanings().keys()]).toEqual(Object.keys(CODES));
  });
});

describe('docs/commands.md', () => {
  const text = read('docs/commands.md');
  const sections = new Map([...text.matchAll(/^### `(.*)`\n([\s\S]*?)(?=^##|(?![\s\S]))/gm)].map((match) => [match[1]!, match[2]!]));
  const offered = COMMANDS.filter(({ load }) => load !== undefined);
  const row = ({ flags, about, mandatory }: OptionSpec): string => `| \`${flags}\` | ${about}${mandatory === true ? ' (needed)' : ''} |`;

  it('describes exactly the commands that there are', () => {
    expect([...sections.keys()].sort()).toEqual(offered.map(({ usage }) => usage).sort());
  });

  for (const { usage, about, options = [], example } of offered) {
    it(`describes ${usage} with its options and an example`, () => {
      const section = sections.get(usage)!;
      expect(section.toLowerCase()).toContain(about.toLowerCase());
      expect([...section.matchAll(/^\| `-.*$/gm)].map(([line]) => line)).toEqual(options.map(row));
      expect(section).toContain('```');
      if (example !== undefined) expect(section).toContain(`$ ${example}\n`);
    });
  }

  it('names the options that every command takes, and what comes later', () => {
    for (const option of GLOBAL_OPTIONS) expect(text).toContain(row(option));
    for (const { usage, load } of COMMANDS) if (load === undefined) expect(text).toContain(`\`${usage}\``);
  });
});
