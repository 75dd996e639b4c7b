/** The rules of the conformance agent (test/agent) that need no process: names, commands, documents, checkpoints. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { checkpoint, readCheckpoint } from '../../agent/checkpoint';
import { AgentAborts } from '../../agent/check';
import { MANIFEST_TYPE, parseImageConfig, parseManifest } from '../../agent/manifest';
import { originOf, parseReference, showReference } from '../../agent/reference';
import { environmentOf, programOf, workingDirectoryOf } from '../../agent/runtime';
import { encode } from '../../agent/wire';

const FLAG = 'https://registry-1.docker.io';

describe('an image name', () => {
  it.each([
    ['debian', { repository: 'debian' }],
    ['debian:12', { repository: 'debian', tag: '12' }],
    ['team/app:1', { repository: 'team/app', tag: '1' }],
    ['localhost/app', { registry: 'localhost', repository: 'app' }],
    ['127.0.0.1:61080/images.example.org/a/b:1.2', { registry: '127.0.0.1:61080', repository: 'images.example.org/a/b', tag: '1.2' }],
    ['127.0.0.1:61080/app', { registry: '127.0.0.1:61080', repository: 'app' }],
    ['r.example.org/app@sha256:12', { registry: 'r.example.org', repository: 'app', digest: 'sha256:12' }],
  ])('%s is read as the agent reads it', (text, reference) => {
    expect(parseReference(text)).toEqual(reference);
    expect(showReference(parseReference(text))).toBe(text);
  });

  it.each([
    ['debian:12', FLAG, 'https://registry-1.docker.io', 'library/debian'],
    ['team/app', FLAG, 'https://registry-1.docker.io', 'team/app'],
    ['debian:12', 'http://127.0.0.1:61080', 'http://127.0.0.1:61080', 'debian'],
    ['127.0.0.1:61080/debian', FLAG, 'http://127.0.0.1:61080', 'debian'],
    ['localhost:5000/x/y', FLAG, 'http://localhost:5000', 'x/y'],
    ['localhost/x', FLAG, 'https://localhost', 'x'],
    ['r.example.org:80/x', FLAG, 'http://r.example.org:80', 'x'],
    ['r.example.org:5000/x', FLAG, 'https://r.example.org:5000', 'x'],
    ['127.0.0.1:443/x', FLAG, 'https://127.0.0.1:443', 'x'],
  ])('%s with --docker_registry=%s goes to %s', (text, flag, url, repository) => {
    expect(originOf(parseReference(text), flag)).toMatchObject({ url, repository });
  });
});

describe('the docker/runtime isolator', () => {
  const none = { Entrypoint: [], Cmd: [] };
  const both = { Entrypoint: ['e', '1'], Cmd: ['c', '2'] };
  it.each([
    [{ shell: false }, both, ['e', '1', 'c', '2']],
    [{ shell: false }, { ...both, Cmd: [] }, ['e', '1']],
    [{ shell: false }, { ...both, Entrypoint: [] }, ['c', '2']],
    [{ shell: false, arguments: ['x'] }, both, ['e', '1', 'x']],
    [{ shell: false, arguments: ['x'] }, { ...both, Entrypoint: [] }, ['c', 'x']],
    [{ shell: false, value: 'v', arguments: ['v', 'x'] }, both, ['v', 'x']],
    [{ value: 'v w' }, both, ['/bin/sh', '-c', 'v w']],
  ])('makes of %j and %j the command %j', (command, config, argv) => {
    expect(programOf(command, config).argv).toEqual(argv);
  });

  it('refuses where there is nothing to run', () => {
    expect(() => programOf({ shell: false }, none)).toThrow('No executable is found');
    expect(() => programOf({}, both)).toThrow('no command value');
  });

  it('merges variables, the last one wins, and works in the sandbox where the image names no directory', () => {
    expect(environmentOf({ Env: ['A=1=2', 'none', 'B=x', 'PATH=/p'] }, '/sandbox', { B: 'y' })).toEqual({ A: '1=2', B: 'y', PATH: '/p', MESOS_SANDBOX: '/sandbox' });
    expect([workingDirectoryOf({ WorkingDir: '' }, '/s'), workingDirectoryOf({ WorkingDir: '/w' }, '/s')]).toEqual(['/s', '/w']);
  });
});

describe('the documents of an image', () => {
  const blob = { mediaType: 'm', size: 1, digest: 'sha256:1' };
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config: blob, layers: [blob] };
  const parse = (value: object, type = MANIFEST_TYPE): unknown => parseManifest(type, Buffer.from(JSON.stringify(value)));

  it('are read with members that nobody knows', () => {
    expect(parse({ ...manifest, annotations: { a: 1 }, layers: [{ ...blob, urls: null }] })).toMatchObject({ layers: [{ digest: 'sha256:1' }] });
    expect(parseImageConfig(Buffer.from('{"config": {"Env": null, "Cmd": null, "Healthcheck": {"Test": []}}, "rootfs": {}}'))).toEqual({ Entrypoint: [], Env: [], Cmd: [] });
  });

  it.each(['application/vnd.oci.image.manifest.v1+json', `${MANIFEST_TYPE}; charset=utf-8`])('are refused as %s', (type) => {
    expect(() => parse(manifest, type)).toThrow('Unsupported manifest MIME type');
  });

  it.each([
    { ...manifest, schemaVersion: 1 },
    { ...manifest, mediaType: undefined },
    { ...manifest, config: { ...blob, size: 2 ** 32 } },
    { ...manifest, config: { ...blob, size: '1' } },
    { ...manifest, layers: [] },
    { ...manifest, layers: [{ ...blob, digest: 'nocolon' }] },
    { ...manifest, layers: [{ ...blob, digest: 'sha256:a/../b' }] },
  ])('are refused: %j', (value) => {
    expect(() => parse(value)).toThrow('manifest');
  });

  it('abort the agent when there is no `config`', () => {
    for (const text of ['{}', '{"config": null}']) expect(() => parseImageConfig(Buffer.from(text))).toThrow(AgentAborts);
    expect(() => parseImageConfig(Buffer.from('{"config": {"Env": "A=1"}}'))).toThrow('expected an array');
  });
});

describe('a checkpoint', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-'));
  const file = path.join(dir, 'below/layers');
  afterAll(() => fs.rmSync(dir, { recursive: true }));

  it('has the bytes that protobuf says', () => {
    // ContainerLayers {paths: "/a", paths: "/b", config: "/c"}
    checkpoint(file, [[1, '/a'], [1, '/b'], [2, '/c']]);
    expect(fs.readFileSync(file).toString('hex')).toBe('0c0000000a022f610a022f6212022f63');
    expect(encode([[6, true], [4, 300], [5, undefined], [7, [[1, 'x']]]]).toString('hex')).toBe('300120ac023a030a0178');
    const read = readCheckpoint(file)!;
    expect([read.strings(1), read.string(2), read.string(3)]).toEqual([['/a', '/b'], '/c', undefined]);
    expect(fs.readdirSync(path.dirname(file))).toEqual(['layers']);
  });

  it('is none when it is missing or empty, and an error when it is torn', () => {
    expect(readCheckpoint(path.join(dir, 'missing'))).toBeUndefined();
    fs.writeFileSync(file, '');
    expect(readCheckpoint(file)).toBeUndefined();
    fs.writeFileSync(file, Buffer.from('0c0000000a02', 'hex'));
    expect(() => readCheckpoint(file)).toThrow('its length');
  });
});
