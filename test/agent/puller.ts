/**
 * The registry puller: one manifest request, then a blob for each layer that the store lacks and for the configuration, if
 * its file is missing; layers are unpacked with `tar`. Nothing is compared with its digest.
 *
 *     <staging>/<layer id>/rootfs.overlay/…     what was unpacked
 *     <staging>/<configuration digest>          the blob
 */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { Credentials, Headers } from './credentials';
import { answerChallenge } from './credentials';
import { getBlob, getDocument } from './curl';
import { ACCEPTED, parseManifest } from './manifest';
import type { Origin, Reference } from './reference';
import { originOf } from './reference';
import { ROOTFS, exists } from './store-paths';
import type { AtStep } from './steps';

export interface PullerFlags {
  readonly dockerRegistry: string;
  readonly credentials: Credentials;
  readonly stallSeconds: number;
}

export interface Pulled {
  /** Base first. */
  readonly layerIds: readonly string[];
  readonly configDigest: string;
}

export class RegistryPuller {
  constructor(
    private readonly flags: PullerFlags,
    private readonly layersDir: string,
    private readonly at: AtStep,
  ) {}

  async pull(reference: Reference, staging: string, signal: AbortSignal): Promise<Pulled> {
    const origin = originOf(reference, this.flags.dockerRegistry);
    const { manifest, headers } = await this.#manifest(origin, reference, signal);
    await this.at('manifest-answered');
    const configDigest = manifest.config.digest;
    const layerIds = [...new Set(manifest.layers.map(({ digest }) => digest))];
    // Asked only now: whoever answers for the manifest may have put the layers there meanwhile.
    const missing = layerIds.filter((id) => !exists(path.join(this.layersDir, id, ROOTFS)));
    const blob = (digest: string, file: string): Promise<void> => this.#blob(origin, digest, file, headers, signal);
    if (!exists(path.join(this.layersDir, configDigest))) await blob(configDigest, path.join(staging, configDigest));
    await this.at('config-fetched');
    await Promise.all(
      missing.map(async (id) => {
        const archive = path.join(staging, `${id}.tar`);
        await blob(id, archive);
        const rootfs = path.join(staging, id, ROOTFS);
        fs.mkdirSync(rootfs, { recursive: true });
        await promisify(execFile)('tar', ['-x', '-f', archive, '-C', rootfs], { signal });
        fs.rmSync(archive);
      }),
    );
    return { layerIds, configDigest };
  }

  async #manifest(origin: Origin, { tag, digest }: Reference, signal: AbortSignal): Promise<{ manifest: ReturnType<typeof parseManifest>; headers: Headers }> {
    const url = `${origin.url}/v2/${origin.repository}/manifests/${digest ?? tag ?? 'latest'}`;
    const { stallSeconds } = this.flags;
    const ask = (headers: Headers): ReturnType<typeof getDocument> => getDocument(url, { headers: { ...headers, Accept: ACCEPTED }, stallSeconds, signal });
    let headers = this.flags.credentials.headersFor(origin.host);
    let answer = await ask(headers);
    if (answer.status === 401) {
      headers = await answerChallenge(answer, headers, { stallSeconds, signal });
      answer = await ask(headers);
    }
    if (answer.status !== 200) throw new Error(`Unexpected HTTP response '${answer.statusLine}' when trying to get the manifest`);
    return { manifest: parseManifest(answer.headers.get('content-type'), answer.body), headers };
  }

  async #blob(origin: Origin, digest: string, file: string, headers: Headers, signal: AbortSignal): Promise<void> {
    const url = `${origin.url}/v2/${origin.repository}/blobs/${digest}`;
    const { stallSeconds } = this.flags;
    let { status, redirect } = await getBlob(url, file, { headers, stallSeconds, signal });
    // One more place, and without what was meant for the registry.
    if (redirect !== '') ({ status, redirect } = await getBlob(redirect, file, { headers: {}, stallSeconds, signal }));
    if (status !== 200) throw new Error(`Unexpected HTTP response '${status}' when trying to download blob '${url}'`);
  }
}
