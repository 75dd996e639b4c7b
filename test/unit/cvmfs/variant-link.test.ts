import * as fs from 'node:fs';
import * as path from 'node:path';
import fc from 'fast-check';
import { expandVariables, hasVariables } from '../../../src/cvmfs/variant-link';
import { describeWithFixtures } from '../../support/fixtures';

const variables = new Map([
  ['A', Buffer.from('x')],
  ['EMPTY', Buffer.alloc(0)],
  ['NESTED', Buffer.from('$(A)')],
  ['BYTES', Buffer.of(0xff, 0xfe)],
]);
const expand = (target: string): string => expandVariables(Buffer.from(target), (name) => variables.get(name)).toString('latin1');

describe('variant link', () => {
  it.each([
    ['plain/target', 'plain/target'],
    ['$(A)', 'x'],
    ['a/$(A)/b/$(A)', 'a/x/b/x'],
    ['$(A:-b)', 'x'],
    ['$(B:-b)', 'b'],
    ['$(B:-)', ''],
    ['$(B)', ''],
    ['$(EMPTY:-b)', ''],
    ['$(A', '$(A'],
    ['$(A)/$(B', 'x/$(B'],
    ['$(NESTED)', '$(A)'],
    ['$A', '$A'],
    ['$$(A)', '$x'],
    ['$()', ''],
    ['$(BYTES)', '\xff\xfe'],
    ['', ''],
  ])('%j becomes %j', (target, result) => {
    expect(expand(target)).toBe(result);
  });

  it('knows whether there is anything to expand', () => {
    expect(['a', '$(A', '$A)', 'x$(A)', '$(A:-b)'].map((target) => hasVariables(Buffer.from(target)))).toEqual([false, false, false, true, true]);
  });

  it('leaves alone what has no variables', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const target = Buffer.from(bytes);
        const expanded = expandVariables(target, () => undefined);
        if (!hasVariables(target)) expect(expanded.equals(target)).toBe(true);
      }),
    );
  });
});

describeWithFixtures('variant links of the real tools', (dir) => {
  const folder = path.join(dir, 'golden.cvmfs.test', 'manifests');
  it.each(fs.readdirSync(folder).filter((name) => name.endsWith('variant-links.json')))('%s expand as the stock client shows them', (name) => {
    const links = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')) as Record<string, { raw: string; seen: string }>;
    expect(Object.keys(links).length).toBeGreaterThan(3);
    const environment = new Map([['CVMFS_TEST_VARIANT', Buffer.from('blue')]]);
    for (const { raw, seen } of Object.values(links)) {
      expect({ raw, seen: expandVariables(Buffer.from(raw), (variable) => environment.get(variable)).toString() }).toEqual({ raw, seen });
    }
  });
});
