/** A host with a repository of its own, published and served by the command line, and a configuration for the service. */
import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { TestHost } from './test-host';

export const FQRN = 'images.cli.test';
const BIN = path.resolve(__dirname, '../../bin/mesos-cvmfs');
const WORD_TIMEOUT_MS = 30_000;

export interface Running {
  readonly child: ChildProcess;
  /** What it printed on standard error so far. */
  readonly log: () => string;
  /** Asks it to stop; resolves to its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export class CliScene {
  readonly host = new TestHost();
  readonly storage = path.join(this.host.dir, 'storage');
  readonly keys = path.join(this.host.dir, 'keys');
  readonly source = path.join(this.host.dir, 'source');
  readonly mountRoot = path.join(this.host.dir, 'cvmfs');
  readonly configFile = path.join(this.host.dir, 'config.toml');
  readonly publicKey = path.join(this.keys, `${FQRN}.pub`);

  /** Writes files below the source; a content of null makes a directory. */
  files(files: Readonly<Record<string, string | Buffer | null>>): void {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.source, name);
      fs.mkdirSync(content === null ? file : path.dirname(file), { recursive: true });
      if (content !== null) fs.writeFileSync(file, content);
    }
  }

  async create(): Promise<void> {
    fs.mkdirSync(this.source, { recursive: true });
    await this.host.ok(['repo', 'create', FQRN, '--storage', this.storage, '--keys', this.keys]);
  }

  async publish(...args: string[]): Promise<{ revision: number; root_hash: string }> {
    return JSON.parse(await this.host.ok(['publish', `dir:${this.source}`, FQRN, '--storage', this.storage, '--keys', this.keys, '--json', ...args]));
  }

  /** Serves the repository; resolves to the server URL, `@fqrn@` in it, and what ends it. */
  async serveRepository(...args: string[]): Promise<Running & { readonly url: string }> {
    const { word, ...running } = await this.start(['repo', 'serve', FQRN, '--storage', this.storage, '--json', ...args]);
    const { port } = JSON.parse(word) as { port: number };
    return { ...running, url: `http://127.0.0.1:${port}/cvmfs/@fqrn@` };
  }

  /** `repository` replaces the whole table of the repository, `more` is added at the end. */
  configure(server: string, more = '', publicKey = this.publicKey): void {
    fs.writeFileSync(
      this.configFile,
      `state_dir = "${this.host.dir}/state"
run_dir = "${this.host.runDir}"
mount_root = "${this.mountRoot}"
http = "127.0.0.1:0"
[repositories."${FQRN}"]
servers = ["${server}"]
public_keys = ["${publicKey}"]
max_ttl = "1s"
[provisioner]
image_repositories = ["${FQRN}"]
[cache]
dir = "${this.host.cacheDir}"
limit = "1 GB"
${more}`,
    );
  }

  async serve(...args: string[]): Promise<Running & { readonly http: string; readonly listen: string }> {
    const { word, ...running } = await this.start(['serve', '--config', this.configFile, '--json', ...args]);
    return { ...running, ...(JSON.parse(word) as { http: string; listen: string }) };
  }

  /** A command with this scene's configuration. */
  run(...args: string[]): ReturnType<TestHost['run']> {
    return this.host.run([...args, '--config', this.configFile]);
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.host.ok([...args, '--config', this.configFile, '--json'])) as T;
  }

  /** Starts a command that stays, and waits for its first line. */
  async start(args: readonly string[]): Promise<Running & { readonly word: string }> {
    const child = this.host.start(process.execPath, [BIN, ...args]);
    let out = '';
    let log = '';
    child.stderr!.on('data', (piece: Buffer) => void (log += piece.toString()));
    const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    const word = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`mesos-cvmfs ${args.join(' ')} said nothing: ${log}`)), WORD_TIMEOUT_MS);
      child.stdout!.on('data', (piece: Buffer) => {
        out += piece.toString();
        if (!out.includes('\n')) return;
        clearTimeout(timer);
        resolve(out.slice(0, out.indexOf('\n')));
      });
      void ended.then((code) => {
        clearTimeout(timer);
        reject(new Error(`mesos-cvmfs ${args.join(' ')} ended with ${code}: ${log}`));
      });
    });
    return {
      child,
      word,
      log: () => log,
      stop: (signal = 'SIGTERM') => {
        child.kill(signal);
        return ended;
      },
    };
  }

  end(): Promise<void> {
    return this.host.end();
  }
}
