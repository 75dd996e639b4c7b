/** Each file of examples/marathon is valid, becomes what stock Marathon takes, and comes back word for word. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { readDefinition, translate, translateBack } from '../../../src/marathon/translate';
import { marathonRefuses } from '../../support/marathon-checker';

const DIR = path.resolve(__dirname, '../../../examples/marathon');
const FILES = fs.readdirSync(DIR).filter((name) => name.endsWith('.json'));
const TYPES = { app: 'App', pod: 'Pod', group: 'GroupUpdate' } as const;

/** All names of images in a document. */
function images(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, held]) => (typeof held === 'string' && (name === 'image' || (name === 'id' && 'kind' in value)) ? [held] : images(held)));
}

describe.each(FILES)('examples/marathon/%s', (name) => {
  const text = fs.readFileSync(path.join(DIR, name), 'utf8');
  const translated = (): ReturnType<typeof translate> => translate(text, name);

  it('has nothing wrong in it', () => {
    expect(readDefinition(text, name).problems).toEqual([]);
  });

  it('becomes what Marathon takes', () => {
    const { kind, value } = translated();
    if (kind === 'apps') for (const app of value as unknown[]) expect(marathonRefuses(app, 'App')).toEqual([]);
    else expect(marathonRefuses(value, TYPES[kind])).toEqual([]);
  });

  it('comes back as it was, members in their order', () => {
    const back = translateBack(JSON.stringify(translated().value), name);
    expect(JSON.stringify(back.value)).toBe(JSON.stringify(JSON.parse(text)));
  });

  it('is told of in the README beside it', () => {
    expect(fs.readFileSync(path.join(DIR, 'README.md'), 'utf8')).toContain(`\`${name}\``);
  });
});

describe('examples/placement', () => {
  const dir = path.join(DIR, '../placement');

  it.each(fs.readdirSync(dir).filter((name) => name.endsWith('.json')))('%s is what Marathon takes as it is', (name) => {
    const text = fs.readFileSync(path.join(dir, name), 'utf8');
    const { kind, value } = translate(text, name);
    expect(value).toEqual(JSON.parse(text));
    expect(marathonRefuses(value, kind === 'pod' ? 'Pod' : 'App')).toEqual([]);
  });
});

it('shows all three kinds of names', () => {
  const names = FILES.flatMap((name) => images(translate(fs.readFileSync(path.join(DIR, name), 'utf8'), name).value));
  expect(names).toEqual(
    expect.arrayContaining([
      '127.0.0.1:61080/images.example.org/apps/web:3.1',
      '127.0.0.1:61080/images.example.org/debian:12',
      '127.0.0.1:61080/docker.io/library/python:3.12',
      '127.0.0.1:61080/images.example.org/apps/one:latest',
      'busybox:1.36',
    ]),
  );
});
