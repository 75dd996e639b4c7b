/**
 * A docker registry of a test's own, with images made of files in memory: manifests (schema 2), configurations and layers
 * as gzip-compressed tars, and, asked for, Basic or Bearer authentication.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import * as tar from 'tar-stream';
import type { Behaviour, SeenRequest, TestHttpServer } from './http-server';
import { startHttpServer } from './http-server';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/** A layer: content by path; `null` makes a folder, and an array holds content and mode. */
export type LayerFiles = Readonly<Record<string, string | Buffer | null | readonly [Buffer | string, number]>>;

export interface RegistryImage {
  readonly layers: readonly LayerFiles[];
  /** The `config` member; left out when it is null. */
  readonly config?: object | null;
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export class RegistryServer {
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, Buffer>();
  auth: { readonly kind: 'none' } | { readonly kind: 'basic' | 'bearer'; readonly secret: string } = { kind: 'none' };
  /** Asked first: misbehaves in place of an answer. */
  behave: (url: string) => Behaviour | undefined = () => undefined;

  private constructor(readonly http: TestHttpServer) {
    http.behave = (url, request) => this.behave(url) ?? this.#answer(url, request.headers.authorization);
  }

  static async start(): Promise<RegistryServer> {
    return new RegistryServer(await startHttpServer());
  }

  /** `127.0.0.1:<port>`, as it begins an image's name. */
  get host(): string {
    return `127.0.0.1:${this.http.port}`;
  }

  get requests(): readonly SeenRequest[] {
    return this.http.requests;
  }

  /** Requests for manifests, and for blobs, as `GET <path>` without what is before `/v2/`. */
  paths(): string[] {
    return this.http.requests.map(({ url }) => url);
  }

  /** Puts an image at a tag; what its parts are called. */
  async put(name: string, tag: string, { layers, config = {} }: RegistryImage): Promise<{ manifest: string; config: string; layers: string[] }> {
    const tars = await Promise.all(layers.map(packed));
    const configuration = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', ...(config === null ? {} : { config }) }));
    const blob = (mediaType: string, bytes: Buffer): { mediaType: string; size: number; digest: string } => {
      this.#blobs.set(digestOf(bytes), bytes);
      return { mediaType, size: bytes.length, digest: digestOf(bytes) };
    };
    const described = { schemaVersion: 2, mediaType: MANIFEST, config: blob('application/vnd.docker.container.image.v1+json', configuration), layers: tars.map((bytes) => blob('application/vnd.docker.image.rootfs.diff.tar.gzip', bytes)) };
    const manifest = Buffer.from(JSON.stringify(described));
    for (const reference of [tag, digestOf(manifest)]) this.#manifests.set(`/v2/${name}/manifests/${reference}`, manifest);
    return { manifest: digestOf(manifest), config: described.config.digest, layers: described.layers.map(({ digest }) => digest) };
  }

  close(): Promise<void> {
    return this.http.close();
  }

  #answer(url: string, authorization: string | undefined): Behaviour {
    const { auth } = this;
    if (auth.kind !== 'none') {
      const basic = `Basic ${Buffer.from(auth.secret).toString('base64')}`;
      const refused = (challenge: string): Behaviour => ({ kind: 'status', status: 401, headers: { 'www-authenticate': challenge, 'content-length': 0 } });
      if (auth.kind === 'basic' && authorization !== basic) return refused('Basic realm="a registry"');
      if (url.startsWith('/token')) return authorization === basic ? { kind: 'body', body: JSON.stringify({ token: 'a-token' }), headers: { 'content-length': 19 } } : refused('Basic realm="tokens"');
      if (auth.kind === 'bearer' && authorization !== 'Bearer a-token') return refused(`Bearer realm="${this.http.url}/token",service="a-registry",scope="repository:x:pull"`);
    }
    const manifest = this.#manifests.get(url);
    if (manifest !== undefined) return { kind: 'body', body: manifest, headers: { 'content-type': MANIFEST, 'content-length': manifest.length } };
    const blob = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(url);
    const bytes = blob === null ? undefined : this.#blobs.get(blob[1]!);
    if (bytes !== undefined) return { kind: 'body', body: bytes, headers: { 'content-type': 'application/octet-stream', 'content-length': bytes.length } };
    return { kind: 'status', status: 404, headers: { 'content-length': 0 } };
  }
}

async function packed(files: LayerFiles): Promise<Buffer> {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) {
    if (content === null) pack.entry({ name, type: 'directory', mode: 0o755 });
    else if (typeof content === 'string' || Buffer.isBuffer(content)) pack.entry({ name, mode: 0o644 }, content);
    else pack.entry({ name, mode: content[1] }, content[0]);
  }
  pack.finalize();
  const parts: Buffer[] = [];
  for await (const part of pack) parts.push(part as Buffer);
  return gzipSync(Buffer.concat(parts));
}
