/** A service with the facade over a repository of the test's own, and an agent's puller: `curl` with Mesos' arguments. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { CliScene, FQRN } from './cli-scene';
import type { Running } from './cli-scene';

export { FQRN } from './cli-scene';

export const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
/** What an agent says that it understands. */
const ACCEPT = `${MANIFEST_TYPE},application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws`;

export interface Pulled {
  /** `200 OK`, as an agent shows it to its user. */
  readonly status: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** The head as it came. */
  readonly head: string;
}

export interface Manifest {
  readonly schemaVersion: number;
  readonly mediaType: string;
  readonly config: { readonly mediaType: string; readonly size: number; readonly digest: string };
  readonly layers: ReadonlyArray<{ readonly mediaType: string; readonly size: number; readonly digest: string }>;
}

export class FacadeScene extends CliScene {
  readonly store = path.join(this.host.dir, 'store');
  facade = '';
  readonly #secret: string[] = [];

  /** Publishes the images and configures a service with the facade. `facadeLines` go into the table, `tables` after it. */
  configureFacade(server: string, facadeLines = '', tables = ''): void {
    this.configure(server, `[facade]\nenabled = true\nlisten = "127.0.0.1:0"\ndocker_store_dir = "${this.store}"\n${facadeLines}\n${tables}`);
  }

  async serveFacade(): Promise<Running & { readonly http: string; readonly listen: string; readonly facade: string }> {
    const running = (await this.serve()) as Awaited<ReturnType<CliScene['serve']>> & { readonly facade: string };
    this.facade = running.facade;
    return running;
  }

  /** Sends credentials with every request, as an agent with `--docker_config` does. */
  authorize(userAndPassword: string | undefined): void {
    this.#secret.splice(0, 1, ...(userAndPassword === undefined ? [] : [userAndPassword]));
  }

  /** One request as an agent's puller sends it. */
  async pull(url: string, ...more: string[]): Promise<Pulled> {
    const auth = this.#secret.flatMap((one) => ['-H', `Authorization: Basic ${Buffer.from(one).toString('base64')}`]);
    const ran = await this.host.outside('curl', ['-s', '-S', '-L', '-i', '--raw', '--http1.1', '-y', '60', '--path-as-is', '-H', `Accept: ${ACCEPT}`, ...auth, ...more, `http://${this.facade}${url}`]);
    if (ran.code !== 0) throw new Error(`curl ended with ${ran.code}: ${ran.stderr}`);
    const end = ran.stdout.indexOf('\r\n\r\n');
    const [first = '', ...lines] = ran.stdout.slice(0, end).split('\r\n');
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    return { status: first.replace(/^HTTP\/1\.1 /, ''), headers, body: ran.stdout.slice(end + 4), head: ran.stdout.slice(0, end) };
  }

  /** Name and tag, or digest, as they stand after the registry in an image name. */
  manifest(name: string, reference = 'latest'): Promise<Pulled> {
    return this.pull(`/v2/${name}/manifests/${reference}`);
  }

  /** The manifest of an image that is there. */
  async image(name: string, reference = 'latest'): Promise<Manifest> {
    const { status, body } = await this.manifest(name, reference);
    if (status !== '200 OK') throw new Error(`${name}: ${status} ${body}`);
    return JSON.parse(body) as Manifest;
  }

  layerLink(layer: string): string {
    return path.join(this.store, 'layers', layer, 'rootfs.overlay');
  }

  /** Where the link of a layer leads, null when there is none. */
  target(layer: string): string | null {
    try {
      return fs.readlinkSync(this.layerLink(layer));
    } catch {
      return null;
    }
  }

  links(): string[] {
    const layers = path.join(this.store, 'layers');
    return fs.existsSync(layers) ? fs.readdirSync(layers).filter((name) => this.target(name) !== null) : [];
  }

  /** Root of a view, where everything that is linked lies. */
  view(fqrn = FQRN): string {
    return `${this.mountRoot}/${fqrn}/.cvmfs-view/`;
  }
}
