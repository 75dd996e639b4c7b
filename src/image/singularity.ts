/**
 * The runtime configuration that DUCC leaves inside a flat image for Singularity: shell scripts, written from the image's
 * configuration and here read back without any shell. Where a line is not one that DUCC writes, it is left out and told.
 *
 *   /.singularity.d/env/10-docker2singularity.sh     export PATH="…"             export NAME="${NAME:-"…"}"
 *   /.singularity.d/runscript                        OCI_ENTRYPOINT='"a" "b"'    OCI_CMD='"c"'
 *   /.singularity.d/labels.json                      {"name": "value"}
 *
 * Values are escaped for a shell (\ before \ " ` $), those of variables a second time as Go text ("%q"). WorkingDir and
 * User are not kept there.
 */
import { Failure } from '../error';
import type { RepositoryReader, Snapshot } from '../repository/reader';
import type { ImageConfig, ImageManifest } from './image-manifest';
import { parseImageConfig } from './image-manifest';
import { readPlainFile } from './plain-file';

const MAX_SCRIPT_BYTES = 256 * 1024;
const GO_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\', '"': '"', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

const unescapeShell = (text: string): string => text.replace(/\\([\\"`$])/g, '$1');

/** The text of a Go literal without its quotes; undefined when it is none. */
function unescapeGo(text: string): string | undefined {
  let understood = true;
  const value = text.replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([\s\S]))/g, (_all, x: string | undefined, u: string | undefined, U: string | undefined, one: string | undefined) => {
    const code = x ?? u ?? U;
    const character = code === undefined ? GO_ESCAPES[one ?? ''] : Number.parseInt(code, 16) <= 0x10ffff ? String.fromCodePoint(Number.parseInt(code, 16)) : undefined;
    // \x stands for a byte that is no UTF-8: such a value would not survive a message either.
    if (character === undefined || (x !== undefined && Number.parseInt(x, 16) > 0x7f)) understood = false;
    return character ?? '';
  });
  return understood ? value : undefined;
}

/** Text in which everything special to a shell is escaped: what `Escape` of DUCC writes. */
const ESCAPED = /^(?:[^"\\`$]|\\[\\"`$])*$/;

/** `NAME=value` lines of the environment script. */
export function parseEnvironmentScript(script: string): { readonly env: readonly string[]; readonly strange: readonly string[] } {
  const env: string[] = [];
  const strange: string[] = [];
  for (const line of script.split('\n')) {
    // `${NAME:-}` is written for a variable without a value, which agents leave out.
    if (line.trim() === '' || line.startsWith('#') || /^export ([A-Za-z_][A-Za-z0-9_]*)="\$\{\1:-\}"$/.test(line)) continue;
    const match = /^export ([A-Za-z_][A-Za-z0-9_]*)="(?:\$\{\1:-"((?:[^"\\]|\\.)*)"\}|((?:[^"\\]|\\.)*))"$/.exec(line);
    const value = match === null ? undefined : unescapeGo(match[2] ?? match[3]!);
    if (match === null || value === undefined || !ESCAPED.test(value)) strange.push(line.slice(0, 60));
    else env.push(`${match[1]!}=${unescapeShell(value)}`);
  }
  return { env, strange };
}

/** `"a" "b"` → words; undefined when it is anything else. */
function parseWords(text: string): string[] | undefined {
  if (text === '') return [];
  if (!/^"(?:[^"\\`$]|\\[\\"`$])*"(?: "(?:[^"\\`$]|\\[\\"`$])*")*$/.test(text)) return undefined;
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map((word) => unescapeShell(word[1]!));
}

/** Entrypoint and command of the run script; undefined when it is not DUCC's. */
export function parseRunScript(script: string): { readonly entrypoint: readonly string[]; readonly cmd: readonly string[] } | undefined {
  const match = /^#!\/bin\/sh\nOCI_ENTRYPOINT='([^']*)'\nOCI_CMD='([^']*)'\n/.exec(script);
  const entrypoint = match === null ? undefined : parseWords(match[1]!);
  const cmd = match === null ? undefined : parseWords(match[2]!);
  return entrypoint === undefined || cmd === undefined ? undefined : { entrypoint, cmd };
}

/** The configuration inside the image at `path`; undefined when there is nothing in it. Warnings go to `warn`. */
export async function readSingularity(reader: RepositoryReader, snapshot: Snapshot, path: Buffer, warn: (text: string) => void): Promise<ImageManifest | undefined> {
  const read = async (name: string): Promise<string | undefined> => {
    const file = Buffer.concat([path.equals(Buffer.from('/')) ? Buffer.alloc(0) : path, Buffer.from(`/.singularity.d/${name}`)]);
    try {
      return (await readPlainFile(reader, snapshot, file, MAX_SCRIPT_BYTES))?.toString('utf8');
    } catch (reason) {
      if (!(reason instanceof Failure) || reason.code !== 'FAILED_PRECONDITION') throw reason;
      warn(`.singularity.d/${name} is not used: ${reason.message}`);
      return undefined;
    }
  };
  const { env, strange } = parseEnvironmentScript((await read('env/10-docker2singularity.sh')) ?? '');
  if (strange.length > 0) warn(`.singularity.d/env: ${strange.length} lines are not understood, the first is ${JSON.stringify(strange[0])}`);
  const script = await read('runscript');
  const run = script === undefined ? undefined : parseRunScript(script);
  if (run === undefined && script?.includes('OCI_ENTRYPOINT') === true) warn('.singularity.d/runscript is not understood: Entrypoint and Cmd are unknown');
  const config: Partial<ImageConfig> = { Env: env, Entrypoint: run?.entrypoint ?? [], Cmd: run?.cmd ?? [], Labels: parseLabels(await read('labels.json'), warn) };
  const found = env.length > 0 || run !== undefined || Object.keys(config.Labels ?? {}).length > 0;
  // Through the one border that limits what an image may say.
  return found ? parseImageConfig(Buffer.from(JSON.stringify({ config }))) : undefined;
}

function parseLabels(text: string | undefined, warn: (text: string) => void): Record<string, string> {
  if (text === undefined) return {};
  try {
    const { Labels } = parseImageConfig(Buffer.from(`{"config": {"Labels": ${JSON.stringify(JSON.parse(text))}}}`)).config;
    return { ...Labels };
  } catch (reason) {
    warn(`.singularity.d/labels.json is not used: ${(reason as Error).message}`);
    return {};
  }
}
