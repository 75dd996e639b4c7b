import * as fs from 'node:fs';
import * as path from 'node:path';

const { generate, outDir } = require('../../../proto/generate.js') as { generate(): Record<string, string>; outDir: string };

describe('generated types', () => {
  for (const [name, text] of Object.entries(generate())) {
    it(`${name} is what 'node proto/generate.js' writes today`, () => {
      expect(fs.readFileSync(path.join(outDir, name), 'utf8')).toBe(text);
    });
  }
});
