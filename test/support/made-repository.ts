/** A repository that a test makes and publishes to, and the web server that it is read from. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../src/publish/repo-create';
import { publish } from '../../src/publish/publish';
import type { Published, PublishOptions } from '../../src/publish/publish';
import { systemWorld } from '../../src/publish/publish-world';
import { startHttpServer } from './http-server';
import type { TestHttpServer } from './http-server';
import type { MountOptions } from './test-host';

/** What `mount` needs to know of it. */
export type MountSource = Pick<MountOptions, 'fqrn' | 'servers' | 'publicKey'>;

export class MadeRepository {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'made-repository-'));
  readonly fqrn: string;
  readonly storage: string;
  readonly keys = path.join(this.dir, 'keys');
  readonly source = path.join(this.dir, 'source');
  #server: TestHttpServer | null = null;

  private constructor(fqrn: string) {
    this.fqrn = fqrn;
    this.storage = path.join(this.dir, 'www', fqrn);
  }

  /** Makes it and serves it. `ttlSeconds` is the repository's own time to live, default 240. */
  static async create(fqrn: string, options: { readonly ttlSeconds?: number } = {}): Promise<MadeRepository> {
    const made = new MadeRepository(fqrn);
    fs.mkdirSync(made.source);
    await createRepository({ fqrn, storage: made.storage, keys: made.keys, ...options }, systemWorld);
    made.#server = await startHttpServer(path.join(made.dir, 'www'));
    return made;
  }

  get server(): TestHttpServer {
    return this.#server!;
  }

  get mountSource(): MountSource {
    return { fqrn: this.fqrn, servers: [`${this.server.url}/@fqrn@`], publicKey: path.join(this.keys, `${this.fqrn}.pub`) };
  }

  /** Writes files below the source folder; a name that ends in / is a folder, and `.cvmfscatalog` an empty file begins a nested catalog. */
  write(files: Readonly<Record<string, string | Buffer>>): void {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.source, name);
      fs.mkdirSync(name.endsWith('/') ? file : path.dirname(file), { recursive: true });
      if (!name.endsWith('/')) fs.writeFileSync(file, content);
    }
  }

  /** Makes the repository equal to the source folder, or a part of it to a part of that. */
  publish(options: Partial<PublishOptions> & { readonly part?: string } = {}): Promise<Published> {
    const { part = '', ...rest } = options;
    return publish({ source: `dir:${path.join(this.source, part)}`, fqrn: this.fqrn, storage: this.storage, keys: this.keys, ...(part === '' ? {} : { to: `/${part}` }), ...rest }, { ...systemWorld, workers: 0 });
  }

  /** Requests for catalogs since the server's start; the letter at the end of an object's name is its kind. */
  get catalogRequests(): string[] {
    return this.#paths().filter((url) => /\/data\/.*C$/.test(url));
  }

  /** Requests for the contents of files. */
  get fileRequests(): string[] {
    return this.#paths().filter((url) => /\/data\/[0-9a-f]{2}\/[0-9a-f]+P?$/.test(url));
  }

  get manifestRequests(): number {
    return this.#paths().filter((url) => url.endsWith('/.cvmfspublished')).length;
  }

  async end(): Promise<void> {
    await this.#server?.close();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  #paths(): string[] {
    return this.server.requests.map((request) => request.url);
  }
}
