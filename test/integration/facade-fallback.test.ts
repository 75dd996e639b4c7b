/** Images that are in no repository come from a real registry through the facade, by its rules. Needs root. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import { parseConfig } from '../../src/config/config';
import { createMetrics } from '../../src/metrics/metrics';
import type { Metrics } from '../../src/metrics/metrics';
import type { Host, Running } from '../support/provisioner/service';
import { FQRN, makeHost, startOn } from '../support/provisioner/service';

const describeAsRoot = process.geteuid?.() === 0 ? describe : describe.skip;
jest.setTimeout(60_000);

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const CONFIG = Buffer.from('{"os":"linux"}');
const LAYER = Buffer.alloc(3_000_000, 'layer');
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: CONFIG.length, digest: sha256(CONFIG) },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', size: LAYER.length, digest: sha256(LAYER) }],
  }),
);

describeAsRoot('the fallback to real registries (needs root)', () => {
  let host: Host;
  let running: Running;
  let metrics: Metrics;
  let registry: http.Server;
  let registryHost: string;
  let requests: Array<{ url: string; authorization: string | undefined }>;
  let handle: http.RequestListener;
  let secret: string;

  const PRIVATE = `Basic ${Buffer.from('alice:pass').toString('base64')}`;

  beforeEach(async () => {
    requests = [];
    registry = http.createServer((request, response) => {
      requests.push({ url: request.url ?? '', authorization: request.headers.authorization });
      handle(request, response);
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
    registryHost = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
    handle = (request, response) => {
      const { url = '', headers } = request;
      const send = (type: string, body: Buffer): void => void response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
      if (url.startsWith('/token')) return send('application/json', Buffer.from(JSON.stringify({ token: headers.authorization === PRIVATE ? 'private' : 'public' })));
      const needs = url.startsWith('/v2/secret/') ? 'Bearer private' : 'Bearer public';
      if (headers.authorization !== needs) return void response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${registryHost}/token",service="test"` }).end();
      if (/^\/v2\/(app|secret)\/manifests\//.test(url)) return send(OCI, MANIFEST);
      if (url.endsWith(`/blobs/${sha256(CONFIG)}`)) return send('application/octet-stream', CONFIG);
      if (url.endsWith(`/blobs/${sha256(LAYER)}`)) return void response.writeHead(307, { location: '/cdn/layer' }).end();
      response.writeHead(404).end();
    };
    const plain = handle;
    handle = (request, response) => (request.url === '/cdn/layer' ? void response.writeHead(200, { 'content-length': LAYER.length }).end(LAYER) : plain(request, response));
    host = makeHost();
    metrics = createMetrics({ processMetrics: false });
    running = await startOn(host, {
      config: parseConfig(host.config(`[facade]\nenabled = true\nlisten = "127.0.0.1:0"\ndocker_store_dir = "${host.dir}/store"\nauth = "secret"\nfallback_registries = ["${registryHost}"]\n`), undefined),
      metrics,
    });
    secret = fs.readFileSync(path.join(host.dir, 'state/facade-secret'), 'utf8').trim();
  });
  afterEach(async () => {
    await running.stop();
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
    host.remove();
  });

  const ask = (target: string, user: string | null = `mesos-cvmfs:${secret}`): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: Buffer }> =>
    new Promise((resolve, reject) => {
      const [address, port] = running.service.facade!.split(':');
      http
        .get({ host: address, port, path: target, agent: false, headers: user === null ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` } }, (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('aborted', () => reject(new Error('aborted')));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }));
        })
        .on('error', reject);
    });

  it('hands on manifest and blobs as an agent understands them, by names with the registry and without', async () => {
    for (const name of ['app', `${registryHost}/app`]) {
      const manifest = await ask(`/v2/${name}/manifests/1`);
      expect([manifest.status, manifest.headers['content-type'], manifest.headers['content-length']]).toEqual([200, 'application/vnd.docker.distribution.manifest.v2+json', String(manifest.body.length)]);
      expect(JSON.parse(manifest.body.toString())).toMatchObject({ mediaType: 'application/vnd.docker.distribution.manifest.v2+json', layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', digest: sha256(LAYER) }] });
      const layer = await ask(`/v2/${name}/blobs/${sha256(LAYER)}`);
      // Without a redirect, and whole.
      expect([layer.status, layer.headers['content-length'], layer.body.equals(LAYER)]).toEqual([200, String(LAYER.length), true]);
      const config = await ask(`/v2/${name}/blobs/${sha256(CONFIG)}`);
      expect(JSON.parse(config.body.toString())).toEqual({ os: 'linux', config: {} });
    }
    const { text } = await metrics.render();
    expect(text).toContain(`mesos_cvmfs_facade_fallback_requests_total{registry="${registryHost}",kind="manifest",status="200"} 2`);
    expect(text).toContain(`mesos_cvmfs_facade_fallback_bytes_total{registry="${registryHost}"} ${2 * LAYER.length}`);
  });

  it('sends the credentials of the requester and no others, and one may not have what another may', async () => {
    expect((await ask('/v2/secret/manifests/1')).status).toBe(404);
    const alice = `alice:${secret}:pass`;
    expect((await ask('/v2/secret/manifests/1', alice)).status).toBe(200);
    expect((await ask(`/v2/secret/blobs/${sha256(LAYER)}`, alice)).body.equals(LAYER)).toBe(true);
    expect((await ask(`/v2/secret/blobs/${sha256(LAYER)}`)).status).toBe(404);
    expect(JSON.stringify(requests)).not.toContain(Buffer.from(secret).toString('base64').slice(4, 30));
    expect(requests.every(({ authorization = '' }) => authorization === PRIVATE || !authorization.startsWith('Basic'))).toBe(true);
  });

  it('asks nobody without the secret, for a registry that is not listed, or for what a repository of ours should hold', async () => {
    expect((await ask('/v2/app/manifests/1', null)).status).toBe(401);
    expect((await ask(`/v2/app/blobs/${sha256(LAYER)}`, null)).status).toBe(401);
    for (const name of ['127.0.0.1:1/app', 'registry.example.org/app', `${FQRN}/images/none`, `${FQRN}/app`]) expect([name, (await ask(`/v2/${name}/manifests/1`)).status]).toEqual([name, 404]);
    expect(requests).toEqual([]);
  });

  it('says what is wrong with a registry, and a blob that breaks off is no whole one', async () => {
    handle = (_request, response) => void response.writeHead(503).end();
    expect((await ask('/v2/app/manifests/1')).status).toBe(503);
    handle = (_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    expect((await ask('/v2/app/manifests/1')).status).toBe(501);
    handle = (_request, response) => void response.writeHead(200, { 'content-length': 1000 }).write('half', () => response.destroy());
    await expect(ask(`/v2/app/blobs/${sha256(LAYER)}`)).rejects.toThrow();
    handle = (_request, response) => void response.writeHead(200).end('of no length');
    expect((await ask(`/v2/app/blobs/${sha256(LAYER)}`)).status).toBe(502);
    handle = (request) => void request.socket.destroy();
    expect((await ask('/v2/app/manifests/1')).status).toBe(503);
    expect((await ask(`/v2/app/manifests/sha256:${'0'.repeat(64)}`)).status).toBe(503);
  });
});
