import * as fs from 'node:fs';
import * as path from 'node:path';
import { parameterRow, PARAMETERS, parameterTableMarkdown } from '../../../src/config/parameter-table';

describe('the table of parameters', () => {
  // To write it anew: UPDATE_DOCS=1 npx jest test/unit/config/parameter-table
  it('is docs/parameters.md', () => {
    const file = path.resolve(__dirname, '../../../docs/parameters.md');
    if (process.env['UPDATE_DOCS'] === '1') fs.writeFileSync(file, parameterTableMarkdown());
    expect(fs.readFileSync(file, 'utf8')).toBe(parameterTableMarkdown());
  });

  it('has each name once, and a reason with a cure for each refusal', () => {
    expect(new Set(PARAMETERS.map(({ name }) => name)).size).toBe(PARAMETERS.length);
    for (const { disposition, text } of PARAMETERS) if (disposition === 'refused') expect(text).toMatch(/^[^;]+; [^;]+$/);
  });

  it('prefers the exact name to the pattern', () => {
    expect(parameterRow('CVMFS_CACHE_PRIMARY')?.disposition).toBe('refused');
    expect(parameterRow('CVMFS_CACHE_ram_SIZE')?.name).toBe('CVMFS_CACHE_*');
    expect(parameterRow('CVMFS_DNS_TIMEOUT')?.disposition).toBe('ignored');
    expect(parameterRow('CVMFS_MY_SITE')).toBeUndefined();
  });

  it('refers to keys of the configuration file that exist', () => {
    const docs = fs.readFileSync(path.resolve(__dirname, '../../../docs/configuration.md'), 'utf8');
    for (const { disposition, text } of PARAMETERS) {
      const key = /^`([a-z_]+)`;/.exec(text)?.[1];
      if (disposition === 'honoured' && key !== undefined && key !== 'yes') expect(docs).toContain(`| \`${key}\` |`);
    }
  });
});
