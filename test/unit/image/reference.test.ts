import * as fc from 'fast-check';
import { pathToText, textToPath } from '../../../src/image/path-text';
import type { CvmfsReference } from '../../../src/image/reference';
import { cvmfsReference, formatReference, parseReference } from '../../../src/image/reference';

const D = 'a'.repeat(64);
const normal = (text: string): string => formatReference(parseReference(text));

describe('docker references', () => {
  it.each([
    'debian:12', 'library/debian:12', 'docker.io/debian:12', 'docker.io/library/debian:12', 'index.docker.io/library/debian:12',
    'registry.hub.docker.com/library/debian:12', 'registry-1.docker.io/library/debian:12',
  ])('%s is the one Debian 12', (text) => {
    expect(normal(text)).toBe('docker.io/library/debian:12');
  });

  it.each([
    ['debian', 'docker.io/library/debian:latest'],
    ['user/app', 'docker.io/user/app:latest'],
    ['ghcr.io/org/app:v1.2', 'ghcr.io/org/app:v1.2'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['127.0.0.1:61080/a/b:c', '127.0.0.1:61080/a/b:c'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['registry.example.org:5000/deep/er/app_x__y-z.w:T_1.2-3', 'registry.example.org:5000/deep/er/app_x__y-z.w:T_1.2-3'],
    [`debian@sha256:${D}`, `docker.io/library/debian@sha256:${D}`],
    [`debian:12@sha256:${D}`, `docker.io/library/debian@sha256:${D}`],
  ])('%s is %s', (text, expected) => {
    expect(normal(text)).toBe(expected);
    expect(normal(expected)).toBe(expected);
  });

  it.each([
    '', ' ', 'Debian:12', 'debian:', 'debian:-x', `debian:${'t'.repeat(129)}`, 'debian@sha256:abc', `debian@sha512:${D}`, `debian@sha256:${D.toUpperCase()}`, 'debian@', '/debian', 'debian/', 'a//b',
    '../etc', 'a/../b', '.example.org/x', 'registry.example.org:0/x', 'registry.example.org:99999/x', 'registry.example.org:x/y', 'REGISTRY.example.org/x', 'docker://debian', 'http://x/y',
    'debian:12\n', 'a\0b', 'dé', 'a___b', '-a', 'a-', 'x'.repeat(256), 'x'.repeat(20000), 'a:b:c', `a@sha256:${D}@sha256:${D}`,
  ])('refuses malformed text %# and says what was expected', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => parseReference(text)).toThrow(/expected/);
  });
});

describe('cvmfs references', () => {
  const path = (text: string): Buffer => (parseReference(text) as CvmfsReference).path;

  it('name a directory, percent-encoded where it is not text', () => {
    expect(parseReference('cvmfs://images.example.org/a/b')).toEqual({ kind: 'cvmfs', repository: 'images.example.org', path: Buffer.from('/a/b') });
    expect(path('cvmfs://r.example.org/a%20b/%ff%25')).toEqual(Buffer.from('/a b/\xff%', 'latin1'));
    expect(path('cvmfs://r.example.org')).toEqual(Buffer.from('/'));
    expect(path('cvmfs://r.example.org//a/./b/')).toEqual(Buffer.from('/a/b'));
    expect(path('cvmfs://r.example.org/registry.hub.docker.com/library/debian:12')).toEqual(Buffer.from('/registry.hub.docker.com/library/debian:12'));
    expect(normal('cvmfs://r.example.org/%C3%A9%0a%20x')).toBe('cvmfs://r.example.org/é%0A%20x');
  });

  it('take a path of Image.CVMFS as it is, with or without a leading slash', () => {
    expect(cvmfsReference('r.example.org', Buffer.from('a%20b')).path).toEqual(Buffer.from('/a%20b'));
    expect(cvmfsReference('r.example.org', Buffer.from('/a%20b')).path).toEqual(Buffer.from('/a%20b'));
  });

  it.each([
    'cvmfs://', 'cvmfs:///a', 'cvmfs://a..b/x', 'cvmfs://../x', 'cvmfs://-a/x', `cvmfs://${'a'.repeat(61)}/x`, 'cvmfs://r.example.org/a/../b', 'cvmfs://r.example.org/%2e%2e/b', 'cvmfs://r.example.org/a%00b',
    'cvmfs://r.example.org/%', 'cvmfs://r.example.org/%zz', `cvmfs://r.example.org/${'n'.repeat(256)}`, `cvmfs://r.example.org${'/name'.repeat(900)}`, 'cvmfs://r example/x',
  ])('refuses malformed text %#', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('survive the trip through text, whatever bytes a path has', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const text = pathToText(Buffer.from(bytes));
        expect(text).not.toMatch(/[\p{Cc}\p{Z}�]/u);
        expect(textToPath(text)).toEqual(Buffer.from(bytes));
      }),
    );
  });
});
