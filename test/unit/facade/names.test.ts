import { parseRegistryPath } from '../../../provisioner/facade/names';
import { candidatesOf, facadeHosts, firstCandidate, isDigest, parseFacadeName } from '../../../src/image/facade-name';
import { Failure } from '../../../src/error';

const CONFIGURED = ['images.example.org', 'b.example.org'];
const of = (path: string): string[] => {
  const parsed = parseRegistryPath(path)!;
  return candidatesOf(parsed, CONFIGURED).map(({ image, onlyIn }) => (onlyIn === undefined ? image : `${image} in ${onlyIn}`));
};

describe('what an agent asks for', () => {
  it('is a manifest or a blob of a name with any number of components', () => {
    expect(parseRegistryPath('/v2/a/manifests/1')).toEqual({ kind: 'manifest', name: Buffer.from('a'), reference: '1' });
    expect(parseRegistryPath('/v2/a/b/c/blobs/sha256:0')).toEqual({ kind: 'blob', name: Buffer.from('a/b/c'), reference: 'sha256:0' });
    expect(parseRegistryPath('/v2/a/manifests/b/manifests/1')).toMatchObject({ name: Buffer.from('a/manifests/b') });
  });

  it.each(['/v2/', '/v2/a', '/v2/_catalog', '/v2/a/tags/list', '/v2/manifests/1', '/v2/a/manifests/', '/v2//manifests/1', '/v1/a/manifests/1', '/v2/a/blobs/uploads/1'])('is nothing else: %s', (path) => {
    expect(parseRegistryPath(path)).toBeUndefined();
  });

  it('is bytes, percent-encoded or not', () => {
    expect(parseRegistryPath('/v2/a%20%ff\xe9/manifests/1')!.name).toEqual(Buffer.from([0x61, 0x20, 0xff, 0xe9]));
  });

  it.each(['/v2/a%/manifests/1', '/v2/a%zz/manifests/1', `/v2/${'a'.repeat(4097)}/manifests/1`, `/v2/a/manifests/${'1'.repeat(256)}`, '/v2/a/manifests/%00', '/v2/a/manifests/b%2fc'])('is refused when it can be no name: %.40s', (path) => {
    expect(() => parseRegistryPath(path)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('the images that a name may stand for', () => {
  it('are directories of a configured repository, then a docker name in it alone', () => {
    expect(of('/v2/images.example.org/images/a/manifests/1')).toEqual(['cvmfs://images.example.org/images/a:1', 'images/a:1 in images.example.org']);
    expect(of('/v2/images.example.org/images/a/manifests/latest')).toEqual(['cvmfs://images.example.org/images/a:latest', 'cvmfs://images.example.org/images/a', 'images/a:latest in images.example.org']);
    expect(of('/v2/images.example.org/%c3%a9%20%ff/manifests/1')).toEqual(['cvmfs://images.example.org/é%20%FF:1']);
    expect(of('/v2/images.example.org/.flat/ab/manifests/latest')).toEqual(['cvmfs://images.example.org/.flat/ab:latest', 'cvmfs://images.example.org/.flat/ab']);
  });

  it('are the root of a repository when there is no path', () => {
    expect(of('/v2/images.example.org/manifests/latest')).toEqual(['cvmfs://images.example.org/']);
    expect(of('/v2/images.example.org/manifests/1')).toEqual([]);
  });

  it('are docker names when no configured repository is named, with or without a registry', () => {
    expect(of('/v2/debian/manifests/12')).toEqual(['debian:12']);
    expect(of('/v2/library/debian/manifests/12')).toEqual(['library/debian:12']);
    expect(of('/v2/ghcr.io/org/app/manifests/latest')).toEqual(['ghcr.io/org/app:latest']);
    expect(of('/v2/other.example.org/images/a/manifests/1')).toEqual(['other.example.org/images/a:1']);
  });

  it('keep a digest', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    expect(isDigest(digest)).toBe(true);
    expect(of(`/v2/debian/manifests/${digest}`)).toEqual([`debian@${digest}`]);
    expect(of(`/v2/b.example.org/x/manifests/${digest}`)).toEqual([`cvmfs://b.example.org/x@${digest}`, `x@${digest} in b.example.org`]);
  });

  it.each(['/v2/images.example.org/../etc/manifests/1', '/v2/images.example.org/a/%2e%2e/b/manifests/1', '/v2/images.example.org/a%00b/manifests/1'])('are none when the path leads out: %s', (path) => {
    expect(() => of(path)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('a name as an app has it', () => {
  const hosts = facadeHosts({ host: '127.0.0.1', port: 61080 });
  const parse = (text: string): [string, string] | undefined => {
    const name = parseFacadeName(text, hosts);
    return name === undefined ? undefined : [name.name.toString('latin1'), name.reference];
  };

  it('is cut as an agent cuts it', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    expect(parse('127.0.0.1:61080/images.example.org/a/b:1')).toEqual(['images.example.org/a/b', '1']);
    expect(parse('localhost:61080/images.example.org/a%20b')).toEqual(['images.example.org/a b', 'latest']);
    expect(parse(`127.0.0.1:61080/debian@${digest}`)).toEqual(['debian', digest]);
    expect(parse('127.0.0.1:61080/images.example.org/a:1/b')).toEqual(['images.example.org/a:1/b', 'latest']);
  });

  it.each(['debian:12', '127.0.0.1:5000/debian:12', 'cvmfs://images.example.org/a'])('is nobody else’s: %s', (text) => {
    expect(parse(text)).toBeUndefined();
  });

  it('is the first of its images that is there; a failure that may be cured ends the search', async () => {
    const candidates = candidatesOf(parseFacadeName('127.0.0.1:61080/images.example.org/a', hosts)!, CONFIGURED);
    const asked: string[] = [];
    const resolve = (answers: Readonly<Record<string, Failure | string>>) => async ({ image }: { image: string }): Promise<string> => {
      asked.push(image);
      const answer = answers[image] ?? new Failure('NOT_FOUND', `no ${image}`);
      if (answer instanceof Failure) throw answer;
      return answer;
    };
    expect(await firstCandidate(candidates, resolve({ 'cvmfs://images.example.org/a': 'found' }))).toBe('found');
    expect(asked).toEqual(['cvmfs://images.example.org/a:latest', 'cvmfs://images.example.org/a']);
    await expect(firstCandidate(candidates, resolve({}))).rejects.toMatchObject({ code: 'NOT_FOUND', what: 'no cvmfs://images.example.org/a:latest; no cvmfs://images.example.org/a; no a:latest' });
    await expect(firstCandidate(candidates, resolve({ 'a:latest': new Failure('INVALID_ARGUMENT', 'no docker name') }))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(firstCandidate(candidates, resolve({ 'cvmfs://images.example.org/a:latest': new Failure('NETWORK', 'away') }))).rejects.toMatchObject({ code: 'NETWORK' });
    await expect(firstCandidate([], resolve({}))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
