/**
 * A repository of a test's own: catalogs row by row, signed with its own keys, served from memory. Everything in it may be
 * as wrong as the test wants, and still carry a good signature.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as zlib from 'node:zlib';
import { formatHash, hashBytes } from '../../src/cvmfs/hash';
import type { ContentHash } from '../../src/cvmfs/hash';
import type { Manifest } from '../../src/cvmfs/manifest';
import { objectPath } from '../../src/cvmfs/object';
import type { ObjectKind } from '../../src/cvmfs/object';
import type { Whitelist } from '../../src/cvmfs/whitelist';
import { makeCatalog } from '../unit/cvmfs/catalog-maker';
import type { Recipe, Row } from '../unit/cvmfs/catalog-maker';
import { makeKeys, signedManifest, signedWhitelist } from '../unit/cvmfs/signer';
import type { Keys } from '../unit/cvmfs/signer';
import { startHttpServer } from './http-server';
import type { TestHttpServer } from './http-server';
import type { MountOptions, TestHost } from './test-host';

export const FORGED = 'sw.example.org';

/** An object as it was put on the server. */
export interface Stored {
  readonly hash: ContentHash;
  /** Bytes before compression. */
  readonly size: number;
  /** Where the server has it, with a leading slash. */
  readonly url: string;
}

export class ForgedRepository {
  readonly keys: Keys;
  readonly server: TestHttpServer;
  readonly publicKey: string;
  readonly config: string;
  /** Text of further tables of the configuration file, from the next `configure` on. */
  tables = '';
  readonly #dir: string;
  #revision = 0;
  #catalogs = 0;

  private constructor(dir: string, server: TestHttpServer, keys: Keys) {
    this.#dir = dir;
    this.server = server;
    this.keys = keys;
    this.publicKey = path.join(dir, `${FORGED}.pub`);
    this.config = path.join(dir, 'config.toml');
    fs.writeFileSync(this.publicKey, keys.masterPublic);
    this.configure({});
  }

  /** `keys`: made anew unless given, which takes a second. */
  static async start(host: TestHost, keys: Keys = makeKeys()): Promise<ForgedRepository> {
    const dir = fs.mkdtempSync(path.join(host.dir, 'forged-'));
    return new ForgedRepository(dir, await startHttpServer(), keys);
  }

  /** Settings of the repository's table in the configuration file; short waits unless it says otherwise. */
  configure(settings: Readonly<Record<string, string | number>>, top: Readonly<Record<string, string>> = {}): void {
    const lines = (values: object): string => Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('');
    const repository = { request_deadline: '4s', max_retries: 0, backoff_init: '50ms', backoff_max: '50ms', timeout_direct: '1s', ...settings };
    fs.writeFileSync(this.config, `${lines({ server_user: 'root', ...top })}[repositories."${FORGED}"]\n${lines(repository)}${this.tables}`);
  }

  mountOptions(more: Partial<MountOptions> = {}): MountOptions {
    return { fqrn: FORGED, servers: [this.server.url], publicKey: this.publicKey, ...more, args: ['--config', this.config, ...(more.args ?? [])] };
  }

  put(kind: ObjectKind, plain: Buffer | string): Stored {
    const bytes = Buffer.from(plain);
    const stored = zlib.deflateSync(bytes);
    const hash = hashBytes('sha1', stored);
    const url = `/${objectPath({ hash, kind, compression: 'zlib' })}`;
    this.server.files.set(url, stored);
    return { hash, size: bytes.length, url };
  }

  /** Row of a regular file whose object is on the server. */
  file(name: string, content: Buffer | string, more: Partial<Row> = {}): Row & { readonly stored: Stored } {
    const stored = this.put('file', content);
    return { path: name, hash: stored.hash.digest, size: stored.size, ...more, stored };
  }

  catalog(recipe: Recipe): Stored {
    const file = makeCatalog(path.join(this.#dir, `catalog-${(this.#catalogs += 1)}`), recipe);
    const bytes = fs.readFileSync(file);
    fs.rmSync(file);
    return this.put('catalog', bytes);
  }

  /** Signs and shows a new revision. */
  publish(root: Stored, manifest: Partial<Manifest> = {}, whitelist: Partial<Omit<Whitelist, 'validUntil'>> = {}): void {
    this.#revision += 1;
    const certificate = this.put('certificate', this.keys.certificate);
    const { history, metainfo, reflog, ...rest } = { history: undefined, metainfo: undefined, reflog: undefined, ...manifest };
    const bytes = signedManifest(this.keys, {
      fqrn: FORGED,
      rootHash: root.hash,
      rootSize: root.size,
      revision: this.#revision,
      publishedAt: 1_700_000_000 + this.#revision,
      certificate: certificate.hash,
      ...rest,
      ...({ history, metainfo, reflog } as Partial<Manifest>),
    });
    this.server.files.set('/.cvmfspublished', bytes);
    this.whitelist(whitelist);
  }

  /** Signs and shows a whitelist; valid for 30 days unless it says otherwise. */
  whitelist(changes: Partial<Omit<Whitelist, 'validUntil'>> = {}): void {
    const expires = new Date(Date.now() + 30 * 86_400_000);
    expires.setMilliseconds(0);
    this.server.files.set('/.cvmfswhitelist', signedWhitelist(this.keys, { fqrn: FORGED, expires, ...changes }));
  }

  close(): Promise<void> {
    return this.server.close();
  }
}

/** Text of a catalog's hash, as parents name it. */
export function hashOf(stored: Stored): string {
  return formatHash(stored.hash);
}
