/** Programs of this host with the libraries that they need, as the files of an image's layer. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import type { LayerFiles } from './registry-server';

/** They lie in `/bin` of the image, their libraries where the loader looks for them. */
export function hostPrograms(...names: readonly string[]): LayerFiles {
  const files: Record<string, readonly [Buffer, number]> = {};
  for (const name of names) {
    const file = [`/bin/${name}`, `/usr/bin/${name}`].find((at) => fs.existsSync(at));
    if (file === undefined) throw new Error(`this host has no ${name}`);
    files[`bin/${name}`] = [fs.readFileSync(file), 0o755];
    for (const [, library] of execFileSync('ldd', [file], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)) files[library!.slice(1)] ??= [fs.readFileSync(library!), 0o755];
  }
  return files;
}
