/** `mesos-cvmfs marathon …`: definitions with images from repositories, for stock Marathon. Needs neither root nor a service. */
import * as fs from 'node:fs';
import { CODES, Failure } from '../../error';
import { parseDuration } from '../../config/units';
import { MarathonClient } from '../../marathon/client';
import type { Credentials } from '../../marathon/client';
import { deploy as send } from '../../marathon/deploy';
import { checkFacade, DEFAULT_FACADE } from '../../marathon/image-name';
import { JSON_CHARACTERS_MAX } from '../../marathon/json-text';
import { problemLine, readDefinition, translate as translated, translateBack } from '../../marathon/translate';
import type { CommonOptions } from '../common-options';
import { print } from '../output';
import { progress } from '../progress';

const DEFAULT_TIMEOUT_MS = 10 * 60_000;
const DEFAULT_FAILURES = 3;
const SECRET_BYTES_MAX = 64 * 1024;

interface TranslateOptions extends CommonOptions {
  readonly back?: boolean;
  readonly facade?: string;
  readonly out?: string;
}

interface DeployOptions extends CommonOptions {
  readonly url: string;
  readonly facade?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly tokenFile?: string;
  readonly bearer?: boolean;
  readonly caFile?: string;
  readonly force?: boolean;
  /** Commander's form of --no-wait. */
  readonly wait: boolean;
  readonly timeout?: string;
  readonly maxFailures?: string;
}

function readFile(file: string, limit: number): string {
  let text: string;
  try {
    // Standard input by the name that every Unix command has for it.
    text = fs.readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new Failure(code === 'ENOENT' ? 'NOT_FOUND' : 'SYSTEM', `${file} cannot be read: ${code}`, { cause: error });
  }
  if (text.length > limit) throw new Failure('INVALID_ARGUMENT', `${file} has ${text.length} characters, and ${limit} are allowed`);
  return text;
}

export async function translate([file]: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const { back, facade = DEFAULT_FACADE, out } = given as TranslateOptions;
  const name = String(file);
  const text = readFile(name, JSON_CHARACTERS_MAX);
  const { value } = back === true ? translateBack(text, name) : translated(text, name, checkFacade(facade));
  const json = `${JSON.stringify(value, null, 2)}\n`;
  if (out === undefined) process.stdout.write(json);
  else fs.writeFileSync(out, json);
}

export async function validate([files]: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const { json, facade = DEFAULT_FACADE } = given as TranslateOptions;
  checkFacade(facade);
  const results = (files as string[]).map((file) => ({ file, ...readDefinition(readFile(file, JSON_CHARACTERS_MAX), file, facade) }));
  const problems = results.reduce((sum, result) => sum + result.problems.length, 0);
  const lines = results.flatMap((result) => (result.problems.length === 0 ? [`${result.file}: ${result.kind}, nothing wrong`] : result.problems.map((problem) => problemLine(result.file, problem))));
  print(json === true, { files: results.map(({ file, kind, problems: found }) => ({ file, kind, problems: found })), problems }, `${lines.join('\n')}\n`);
  if (problems > 0) process.exitCode = CODES.INVALID_ARGUMENT.exit;
}

/** Secrets come from files, never from the command line, which every user of the host may read. */
function credentialsOf({ user, passwordFile, tokenFile, bearer }: DeployOptions): Credentials {
  const secret = (file: string): string => readFile(file, SECRET_BYTES_MAX).trim();
  if (tokenFile !== undefined && user !== undefined) throw new Failure('INVALID_ARGUMENT', '--token-file and --user exclude each other');
  if (tokenFile !== undefined) {
    const token = secret(tokenFile);
    // Anything else would make another header of it.
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Failure('INVALID_ARGUMENT', `${tokenFile} holds no token`, { next: 'expected one line of visible ASCII characters' });
    return { kind: 'token', scheme: bearer === true ? 'bearer' : 'token', token };
  }
  if ((user === undefined) !== (passwordFile === undefined)) throw new Failure('INVALID_ARGUMENT', '--user and --password-file belong together');
  if (user !== undefined && passwordFile !== undefined) return { kind: 'basic', user, password: secret(passwordFile) };
  return { kind: 'none' };
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  try {
    return parseDuration(text);
  } catch (error) {
    const { what, next } = Failure.from(error);
    throw new Failure('INVALID_ARGUMENT', `--timeout ${what}`, next === undefined ? {} : { next });
  }
}

function failuresOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_FAILURES;
  if (!/^[1-9][0-9]{0,5}$/.test(text)) throw new Failure('INVALID_ARGUMENT', `--max-failures ${text}: not a number from 1`);
  return Number(text);
}

export async function deploy([file]: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as unknown as DeployOptions;
  const json = options.json === true;
  const name = String(file);
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const { kind, value } = translated(readFile(name, JSON_CHARACTERS_MAX), name, checkFacade(options.facade ?? DEFAULT_FACADE));
  const ca = options.caFile === undefined ? {} : { ca: readFile(options.caFile, JSON_CHARACTERS_MAX) };
  const client = new MarathonClient({ url: options.url, credentials: credentialsOf(options), sleep, ...ca });
  const timeoutMs = timeoutOf(options.timeout);
  const failuresMax = failuresOf(options.maxFailures);
  const bar = progress(process.stderr, json);
  try {
    const deployed = await send(client, {
      kind,
      value,
      force: options.force === true,
      wait: options.wait,
      timeoutMs,
      failuresMax,
      now: () => performance.now(),
      sleep,
      show: (text, fraction) => bar.update(() => text, fraction),
    });
    bar.end();
    const ids = deployed.workloads.map(({ id }) => id).join(', ');
    const seconds = (deployed.waited_ms / 1000).toFixed(1);
    const text = options.wait ? `${ids} is running and healthy after ${seconds} s (deployment ${deployed.deployment})` : `${ids} is being deployed (deployment ${deployed.deployment})`;
    print(json, { ...deployed, waited_ms: Math.round(deployed.waited_ms) }, `${text}${deployed.failures.map((failure) => `\na task failed on the way: ${failure.text}`).join('')}`);
  } finally {
    bar.end();
  }
}
