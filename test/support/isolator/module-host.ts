/** The program that loads the isolator module (test/isolator-module): compiled once for each state of its sources. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import * as path from 'node:path';
import * as readline from 'node:readline';

const FOLDER = path.resolve(__dirname, '../../isolator-module');
const BUILT = process.env['ISOLATOR_MODULE_BUILD'] ?? path.resolve(__dirname, '../../../dist/isolator-module');
const TOOLS_ARE_MISSING = 3;

/** Undefined when it is there; else which packages are missing. Throws when it does not compile. */
export function buildModuleHost(timeoutMs: number): string | undefined {
  const run = spawnSync('nice', [path.join(FOLDER, 'build.sh'), BUILT], { encoding: 'utf8', timeout: timeoutMs });
  if (run.status === TOOLS_ARE_MISSING) return run.stderr.trim();
  if (run.status !== 0) throw new Error(`the isolator module does not compile: ${run.stderr}`);
  return undefined;
}

export type Outcome = { readonly kind: 'ready'; readonly value: unknown } | { readonly kind: 'failed'; readonly text: string } | { readonly kind: 'pending' };

/** An agent, as far as its isolator module sees of it. */
export class ModuleHost {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  /** The module's log. */
  log = '';

  private constructor(address: string, parameters: Readonly<Record<string, string>>) {
    const module = path.join(BUILT, 'module/libmesos_cvmfs_isolator.so');
    this.#child = spawn(path.join(BUILT, 'host'), [module, address, ...Object.entries(parameters).map(([key, value]) => `${key}=${value}`)]);
    this.#child.stderr.on('data', (data: Buffer) => (this.log += data.toString()));
    this.#child.stdin.on('error', () => undefined);
    this.#lines = readline.createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Resolves when the module was loaded; to null when it refused its parameters. */
  static async load(address: string, parameters: Readonly<Record<string, string>> = { socket: address, timeout: '3secs' }): Promise<{ host: ModuleHost; said: string } | { host: null; said: string }> {
    const host = new ModuleHost(address, parameters);
    const line = await host.#lines.next();
    if (line.done !== true) return { host, said: line.value };
    await new Promise((resolve) => (host.#child.exitCode === null ? host.#child.once('close', resolve) : resolve(undefined)));
    return { host: null, said: host.log };
  }

  /** `method` as host.cpp says; one at a time. */
  async call(method: string, request: object): Promise<Outcome> {
    this.#child.stdin.write(`${method} ${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the program ended: ${this.log}`);
    const [word, rest] = [line.value.split(' ', 1)[0], line.value.slice(line.value.indexOf(' ') + 1)];
    if (word === 'ready') return { kind: 'ready', value: JSON.parse(rest) as unknown };
    return word === 'failed' ? { kind: 'failed', text: rest } : { kind: 'pending' };
  }

  /** As an agent that is killed. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
