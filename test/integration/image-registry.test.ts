/** Configuration objects from real servers on loopback, and from the registry of the fixtures. */
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { createConfigSource } from '../../src/image/create-config-source';
import { MAX_CONFIG_BYTES } from '../../src/image/image-manifest';
import { Registry } from '../../src/image/registry';
import { describeWithFixtures } from '../support/fixtures';

const CONFIG = Buffer.from('{"config": {"Env": ["A=1"]}}');
const DIGEST = createHash('sha256').update(CONFIG).digest('hex');
const BLOB = `/v2/library/debian/blobs/sha256:${DIGEST}`;

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

let handler: Handler;
let server: http.Server;
let host: string;
let requests: Array<{ url: string; authorization: string | undefined }>;

beforeEach(async () => {
  requests = [];
  server = http.createServer((request, response) => {
    requests.push({ url: request.url ?? '', authorization: request.headers.authorization });
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const fetch = (signal?: AbortSignal, timeoutMs = 5000): Promise<Buffer | undefined> => createConfigSource(`docker://${host}`, { timeoutMs }).fetch(DIGEST, 'library/debian', signal);

const answer = (status: number, headers: http.OutgoingHttpHeaders = {}, body: Buffer | string = ''): Handler => (_request, response) => void response.writeHead(status, headers).end(body);

describe('a registry', () => {
  it('gives the object to whoever asks', async () => {
    handler = answer(200, {}, CONFIG);
    await expect(fetch()).resolves.toEqual(CONFIG);
    expect(requests).toEqual([{ url: BLOB, authorization: undefined }]);
  });

  it('is asked below the prefix of a mirror', async () => {
    handler = answer(200, {}, CONFIG);
    await createConfigSource(`docker://${host}/hub/cache`).fetch(DIGEST, 'library/debian', undefined);
    expect(requests[0]?.url).toBe(`/v2/hub/cache/library/debian/blobs/sha256:${DIGEST}`);
  });

  it('gives it for an anonymous token, and the token to nobody else', async () => {
    const elsewhere = http.createServer((request, response) => {
      requests.push({ url: `elsewhere${request.url ?? ''}`, authorization: request.headers.authorization });
      response.end(CONFIG);
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    handler = (request, response) => {
      const bearer = `Bearer realm="http://${host}/token",service="registry.example.org",scope="repository:library/debian:pull"`;
      if (request.url?.startsWith('/token') === true) response.end('{"token": "secret"}');
      else if (request.headers.authorization !== 'Bearer secret') response.writeHead(401, { 'www-authenticate': bearer }).end();
      else response.writeHead(307, { location: `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/cdn` }).end();
    };
    await expect(fetch()).resolves.toEqual(CONFIG);
    expect(requests).toEqual([
      { url: BLOB, authorization: undefined },
      { url: '/token?service=registry.example.org&scope=repository%3Alibrary%2Fdebian%3Apull', authorization: undefined },
      { url: BLOB, authorization: 'Bearer secret' },
      { url: 'elsewhere/cdn', authorization: undefined },
    ]);
    elsewhere.closeAllConnections();
    elsewhere.close();
  });

  it.each([
    ['401', answer(401, { 'www-authenticate': 'Basic realm="x"' })],
    ['403', answer(403)],
    ['404', answer(404)],
    ['a token that is none', (request, response) => (request.url === BLOB ? answer(401, { 'www-authenticate': `Bearer realm="http://${host}/t"` }) : answer(200, {}, '{"token": "a\\r\\nb: c"}'))(request, response)],
  ] as Array<[string, Handler]>)('does not have it when it answers %s', async (_name, handle) => {
    handler = handle;
    await expect(fetch()).resolves.toBeUndefined();
  });

  it.each([
    ['more than the limit, announced or not', 'FAILED_PRECONDITION', answer(200, {}, Buffer.alloc(MAX_CONFIG_BYTES + 1))],
    ['redirects without end', 'FAILED_PRECONDITION', answer(302, { location: '/again' })],
    ['a redirect to a file', 'FAILED_PRECONDITION', answer(302, { location: 'file:///etc/passwd' })],
    ['a realm that is no address', 'FAILED_PRECONDITION', answer(401, { 'www-authenticate': 'Bearer realm="nonsense"' })],
    ['a status that makes no sense', 'FAILED_PRECONDITION', answer(418)],
    ['500', 'NETWORK', answer(500)],
    ['429', 'NETWORK', answer(429)],
    ['half of it', 'NETWORK', (_request, response) => void response.writeHead(200, { 'content-length': '100' }).write('half', () => response.destroy())],
    ['no HTTP', 'NETWORK', (request) => void request.socket.end('what?\r\n\r\n')],
  ] as Array<[string, string, Handler]>)('that answers %s is told as %s', async (_name, code, handle) => {
    handler = handle;
    await expect(fetch()).rejects.toMatchObject({ code });
  });

  it('that hangs, or drips, ends at the deadline', async () => {
    handler = () => undefined;
    await expect(fetch(undefined, 60)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    handler = (_request, response) => {
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => clearInterval(timer));
    };
    await expect(fetch(undefined, 60)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  it('does not hold up whoever does not wait any more', async () => {
    const abort = new AbortController();
    handler = () => abort.abort();
    await expect(fetch(abort.signal, 60)).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(fetch(AbortSignal.abort(), 60)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('is asked once by many at the same time, and again later', async () => {
    const source = createConfigSource(`docker://${host}`);
    let release = (): void => undefined;
    handler = (_request, response) => (release = () => void response.end(CONFIG));
    const abort = new AbortController();
    const many = Array.from({ length: 50 }, (_value, index) => source.fetch(DIGEST, 'library/debian', index === 0 ? abort.signal : undefined));
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    await expect(many[0]).rejects.toMatchObject({ code: 'CANCELLED' });
    release();
    for (const one of await Promise.all(many.slice(1))) expect(one).toEqual(CONFIG);
    expect(requests).toHaveLength(1);
    handler = answer(404);
    await expect(source.fetch(DIGEST, 'library/debian', undefined)).resolves.toBeUndefined();
  });

  it('that is not there is told as NETWORK', async () => {
    const gone = http.createServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    await expect(new Registry('r', `127.0.0.1:${port}`, '').fetch(DIGEST, 'a', undefined)).rejects.toMatchObject({ code: 'NETWORK' });
  });

  it('is not asked for an image that has no name in a registry', async () => {
    await expect(createConfigSource(`docker://${host}`).fetch(DIGEST, undefined, undefined)).resolves.toBeUndefined();
    expect(requests).toEqual([]);
  });
});

describe('an OCI layout', () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'oci-'));
    fs.mkdirSync(path.join(dir, 'blobs/sha256'), { recursive: true });
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));
  const read = (): Promise<Buffer | undefined> => createConfigSource(`oci:${dir}`).fetch(DIGEST, undefined, undefined);
  const blob = (): string => path.join(dir, 'blobs/sha256', DIGEST);

  it('gives what it has', async () => {
    await expect(read()).resolves.toBeUndefined();
    fs.writeFileSync(blob(), CONFIG);
    await expect(read()).resolves.toEqual(CONFIG);
    await expect(createConfigSource('oci:/no/such/layout').fetch(DIGEST, undefined, undefined)).resolves.toBeUndefined();
  });

  it('is not read through links, from a fifo, or beyond the limit', async () => {
    fs.writeFileSync(path.join(dir, 'elsewhere'), CONFIG);
    fs.symlinkSync(path.join(dir, 'elsewhere'), blob());
    await expect(read()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    fs.unlinkSync(blob());
    execFileSync('mkfifo', [blob()]);
    await expect(read()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    fs.unlinkSync(blob());
    fs.writeFileSync(blob(), '');
    fs.truncateSync(blob(), MAX_CONFIG_BYTES + 1);
    await expect(read()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  });
});

describeWithFixtures('the registry of the fixtures', (fixtures) => {
  it('has the configuration that the flat image is named after', async () => {
    const { flat } = JSON.parse(fs.readFileSync(path.join(fixtures, 'images.golden.test/image.json'), 'utf8')) as { flat: string };
    const id = path.basename(flat);
    const bytes = await createConfigSource(`oci:${path.join(fixtures, 'images.golden.test/registry')}`).fetch(id, undefined, undefined);
    expect(createHash('sha256').update(bytes!).digest('hex')).toBe(id);
  });
});
