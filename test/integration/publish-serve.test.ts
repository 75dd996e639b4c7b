import * as fs from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import * as path from 'node:path';
import { serveRepository } from '../../src/publish/repo-serve';
import type { RepositoryServer } from '../../src/publish/repo-serve';
import { Fixture, FQRN } from '../unit/publish/repository-fixture';

let fixture: Fixture;
let server: RepositoryServer;
const log: string[] = [];

beforeAll(async () => {
  fixture = await new Fixture().create();
  server = await serveRepository({ fqrn: FQRN, storage: fixture.storage, accessLog: (line) => void log.push(line), now: () => 1_700_000_000_123 });
}, 30_000);
afterAll(async () => {
  await server.close();
  fixture.remove();
});

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

function request(target: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = http.request({ host: server.host, port: server.port, path: target, agent: false, ...options }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => void pieces.push(piece));
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(pieces) }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end();
  });
}

const manifestBytes = (): Buffer => fs.readFileSync(path.join(fixture.storage, '.cvmfspublished'));
const anObject = (): string => {
  const folder = fs.readdirSync(path.join(fixture.storage, 'data')).find((name) => name.length === 2)!;
  return `data/${folder}/${fs.readdirSync(path.join(fixture.storage, 'data', folder))[0]}`;
};

it.each([`/${FQRN}/`, `/cvmfs/${FQRN}/`])('serves the repository below %s', async (prefix) => {
  const answer = await request(`${prefix}.cvmfspublished`);
  expect(answer.status).toBe(200);
  expect(answer.body.equals(manifestBytes())).toBe(true);
  expect(answer.headers).toMatchObject({ 'content-type': 'application/x-cvmfs', 'cache-control': 'max-age=61' });
  expect(answer.headers.etag).toBeUndefined();
  expect(answer.headers['last-modified']).toBeUndefined();
});

it('says where it is', () => {
  expect(server.url).toBe(`http://127.0.0.1:${server.port}/${FQRN}`);
});

it('lets objects be kept for three days', async () => {
  const name = anObject();
  const { status, headers, body } = await request(`/${FQRN}/${name}`);
  expect(status).toBe(200);
  expect(headers).toMatchObject({
    'content-type': 'application/octet-stream',
    'cache-control': 'max-age=259200',
    'content-length': String(body.length),
  });
  expect(body.equals(fs.readFileSync(path.join(fixture.storage, name)))).toBe(true);
});

it('answers HEAD without a body', async () => {
  const { status, headers, body } = await request(`/${FQRN}/.cvmfspublished`, { method: 'HEAD' });
  expect({ status, length: headers['content-length'], body: body.length }).toEqual({ status: 200, length: String(manifestBytes().length), body: 0 });
});

it.each([
  ['bytes=0-3', 206, (all: Buffer) => all.subarray(0, 4), 'bytes 0-3/'],
  ['bytes=5-', 206, (all: Buffer) => all.subarray(5), 'bytes 5-'],
  ['bytes=-7', 206, (all: Buffer) => all.subarray(-7), 'bytes '],
  ['bytes=0-999999', 206, (all: Buffer) => all, 'bytes 0-'],
  ['bytes=9-3', 200, (all: Buffer) => all, undefined],
  ['bytes=0-1,3-4', 200, (all: Buffer) => all, undefined],
  ['lines=1-2', 200, (all: Buffer) => all, undefined],
])('answers the range %s', async (range, status, expected, shown) => {
  const answer = await request(`/${FQRN}/.cvmfspublished`, { headers: { range } });
  expect(answer.status).toBe(status);
  expect(answer.body.equals(expected(manifestBytes()))).toBe(true);
  if (shown !== undefined) expect(answer.headers['content-range']).toMatch(shown);
});

it('refuses a range behind the end', async () => {
  expect(await request(`/${FQRN}/.cvmfspublished`, { headers: { range: 'bytes=99999-' } })).toMatchObject({ status: 416 });
});

it.each([
  `/${FQRN}/../keys/${FQRN}.masterkey`,
  `/${FQRN}/%2e%2e/keys/${FQRN}.masterkey`,
  `/${FQRN}/.cvmfs/../../keys/${FQRN}.key`,
  `/${FQRN}/data/../../keys/${FQRN}.key`,
  `/${FQRN}/data/txn/mesos-cvmfs-lock`,
  `/${FQRN}/data/`,
  `/${FQRN}/data/ab/`,
  `/${FQRN}/`,
  `/${FQRN}`,
  `/${FQRN}/.cvmfs%00published`,
  `/${FQRN}/%zz`,
  '//etc/passwd',
  '/',
  '/other.example.org/.cvmfspublished',
])('has nothing at %s', async (target) => {
  expect(await request(target)).toMatchObject({ status: 404 });
});

it('takes no other method', async () => {
  expect(await request(`/${FQRN}/.cvmfspublished`, { method: 'PUT' })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
});

it('writes the log that proxies and web servers write', async () => {
  log.length = 0;
  await request(`/${FQRN}/.cvmfspublished`);
  await request(`/${FQRN}/none`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const size = manifestBytes().length;
  expect(log[0]).toMatch(new RegExp(`^1700000000\\.123 200 \\d+ ${size} \\d+\\.\\d{3} "GET /${FQRN}/\\.cvmfspublished HTTP/1\\.1" \\d+$`));
  expect(Number(log[0]!.split(' ')[2])).toBeGreaterThan(size);
  expect(log[1]).toMatch(/ 404 /);
});

it('forgets a client that goes away in the middle', async () => {
  const socket = net.connect(server.port, server.host);
  socket.write(`GET /${FQRN}/.cvmfspublished HTTP/1.1\r\nHost: x\r\n\r\n`);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.destroy();
  expect(await request(`/${FQRN}/.cvmfspublished`)).toMatchObject({ status: 200 });
});

it('refuses to serve what is no repository', async () => {
  await expect(serveRepository({ fqrn: FQRN, storage: fixture.dir })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

it('stops, also while a client keeps its connection', async () => {
  const other = await serveRepository({ fqrn: FQRN, storage: fixture.storage });
  const agent = new http.Agent({ keepAlive: true });
  await new Promise((resolve) =>
    http.get({ host: other.host, port: other.port, path: `/${FQRN}/.cvmfspublished`, agent }, (response) => response.resume().on('end', resolve)),
  );
  await other.close(100);
  agent.destroy();
  await expect(new Promise((resolve, reject) => net.connect(other.port, other.host, () => resolve('open')).on('error', reject))).rejects.toThrow(
    /ECONNREFUSED/,
  );
});
