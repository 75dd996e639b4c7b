/** The names that translated definitions have lead the facade to the image that was asked for. */
import * as fc from 'fast-check';
import { parseRegistryPath } from '../../../provisioner/facade/names';
import { candidatesOf } from '../../../src/image/facade-name';
import { formatReference, parseReference } from '../../../src/image/reference';
import { imagePath, pathToText, textToPath } from '../../../src/image/path-text';
import { facadePath } from '../../../src/marathon/image-name';
import type { ImageRequest } from '../../../src/marathon/image-name';

const FQRN = 'images.example.org';

/** As an agent takes a name apart, and asks for it. */
function asked(name: string): string {
  const at = name.indexOf('@');
  const colon = name.lastIndexOf(':');
  const end = at >= 0 ? at : colon;
  return `/v2/${name.slice(0, end)}/manifests/${name.slice(end + 1)}`;
}

/** What the facade tries, in order. */
function tried(request: ImageRequest): string[] {
  const parsed = parseRegistryPath(asked(facadePath(request)))!;
  return candidatesOf(parsed, [FQRN]).map(({ image, onlyIn }) => (onlyIn === undefined ? image : `${onlyIn}!${image}`));
}

it('directories, whatever is in their paths', () => {
  const name = fc.oneof(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 10 }), fc.constantFrom('a:1', 'a:b:1.2', '@', 'a@sha256:b', ':', '%', '%25', '?x', '#', '..a', 'manifests', 'blobs', '+', '&', '\\', '"', "'", '\t'));
  fc.assert(
    fc.property(fc.array(name, { maxLength: 4 }), (names) => {
      const path = `/${names.join('/').replace(/%(?![0-9A-F]{2})/g, '%25')}`;
      const bytes = textToPath(path);
      fc.pre(!bytes.includes(0) && !bytes.toString('latin1').split('/').includes('..'));
      const wanted = `cvmfs://${FQRN}${pathToText(imagePath(bytes))}`;
      expect(asked(facadePath({ repository: FQRN, path }))).toMatch(/^[\x21-\x7e]+$/);
      // Where the last name ends like a tag it is the first that is tried, else the second, after `<name>:latest`.
      expect(tried({ repository: FQRN, path }).slice(0, 2)).toContain(wanted);
    }),
    { numRuns: 500 },
  );
});

it.each(['debian', 'debian:12', 'ghcr.io/org/app:v1', `debian@sha256:${'a'.repeat(64)}`, `org/app:1@sha256:${'0'.repeat(64)}`, 'localhost:5000/a/b:1'])('the docker name %s, in one repository and in all', (image) => {
  const same = (text: string): string => formatReference(parseReference(text));
  const [only] = tried({ image, repository: FQRN }).filter((one) => one.startsWith(`${FQRN}!`));
  expect(same(only!.slice(FQRN.length + 1))).toBe(same(image));
  expect(tried({ image }).map(same)).toEqual([same(image)]);
});
