/**
 * The sources as JavaScript in a temporary folder, for tests that start processes or threads of their own: those do not
 * go through jest's transform, and the project may not have been built.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { transformFileSync } from '@swc/core';

const top = path.resolve(__dirname, '../..');

/** Compiles these files and folders (relative to the checkout) and returns the folder; the caller removes it. */
export function compile(...sources: string[]): string {
  const out = fs.mkdtempSync(path.join(os.tmpdir(), 'compiled-'));
  fs.symlinkSync(path.join(top, 'node_modules'), path.join(out, 'node_modules'));
  const one = (file: string): void => {
    const { code } = transformFileSync(path.join(top, file), {
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      module: { type: 'commonjs' },
    });
    const target = path.join(out, file.replace(/\.ts$/, '.js'));
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, code);
  };
  for (const source of sources) {
    if (source.endsWith('.ts')) one(source);
    else
      for (const file of fs.readdirSync(path.join(top, source), { recursive: true }) as string[])
        if (file.endsWith('.ts')) one(path.join(source, file));
  }
  return out;
}
