/** What the Debian package is made of: pages, completion, scripts, its list of modules. The package itself is tried in integration/package.test.ts. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from '../../../src/cli/commands';
import { loadConfig } from '../../../src/config/config';
import { hostFiles } from '../../../src/config/host-files';
import { VERSION } from '../../../src/version';

const TOP = path.resolve(__dirname, '../../..');
const DEBIAN = path.join(TOP, 'packaging/debian');
const text = (name: string): string => fs.readFileSync(path.join(DEBIAN, name), 'utf8');

const { manPage } = require('../../../packaging/man') as { manPage(page: Record<string, unknown>): string };
const { bashCompletion, zshCompletion } = require('../../../packaging/completion') as Record<string, (table: Record<string, unknown>) => string>;
const { newestEntry } = require('../../../packaging/newest-entry') as { newestEntry(changelog: string): { version: string; seconds: number } };
const { runtimeModules } = require('../../../packaging/modules') as { runtimeModules(tree: string): Array<{ name: string; dir: string; license: string }> };

const table = { commands: COMMANDS.filter(({ load }) => load !== undefined), globals: GLOBAL_OPTIONS, groups: GROUPS };
const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

describe('the Debian package', () => {
  it('has an entry for this version in its changelog', () => {
    const { version, seconds } = newestEntry(text('changelog'));
    expect(version).toBe(VERSION);
    expect(seconds).toBeGreaterThan(1.7e9);
    expect(() => newestEntry('mesos-cvmfs is good')).toThrow('does not begin with an entry');
  });

  it.each(['postinst', 'prerm', 'postrm', 'find-node.sh', 'mesos-cvmfs.sh', 'default'])('%s is a shell script that parses', (name) => {
    expect(spawnSync('sh', ['-n', path.join(DEBIAN, name)], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('takes the Node.js that the administrator names, and none in its place', () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'find-node-'));
    try {
      const find = (settings: string): string => {
        fs.writeFileSync(path.join(dir, 'default'), settings);
        fs.writeFileSync(path.join(dir, 'find-node.sh'), text('find-node.sh').replaceAll('/etc/default/mesos-cvmfs', path.join(dir, 'default')));
        return spawnSync('sh', ['-euc', `. ${dir}/find-node.sh; echo "$node"`], { encoding: 'utf8' }).stdout.trim();
      };
      expect(find(`NODE=${process.execPath}\n`)).toBe(process.execPath);
      expect(find('NODE=/nowhere/node\n')).toBe('');
      expect(['', '/usr/bin/node', '/usr/local/bin/node', '/usr/lib/mesos-cvmfs/node/bin/node']).toContain(find(''));
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });

  it('brings a configuration that is understood, also when all of its comments are taken away', () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'config-'));
    try {
      const file = path.join(dir, 'config.toml');
      fs.copyFileSync(path.join(DEBIAN, 'config.toml'), file);
      expect(loadConfig({ files: hostFiles, file, flags: {} }).repositories.size).toBe(0);
      fs.writeFileSync(file, text('config.toml').replace(/^#(?! |$)/gm, ''));
      const config = loadConfig({ files: hostFiles, file, flags: {} });
      expect([...config.repositories.keys()]).toEqual(['images.example.org']);
      expect(config.facade.enabled).toBe(true);
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });

  it('carries what is loaded, and nothing that only compiles or downloads', () => {
    const names = runtimeModules(TOP).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(Object.keys((JSON.parse(fs.readFileSync(path.join(TOP, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }).dependencies)));
    expect(names.filter((name) => /^(@types\/|bare-|jest|typescript|eslint|prebuild-install)/.test(name))).toEqual([]);
    expect(runtimeModules(TOP).filter(({ license }) => license === 'unknown')).toEqual([]);
  });
});

describe('manual pages', () => {
  it.each(fs.readdirSync(path.join(TOP, 'docs')).filter((name) => name.endsWith('.md')))('%s becomes one without an unknown word', (name) => {
    const page = manPage({ text: fs.readFileSync(path.join(TOP, 'docs', name), 'utf8'), name: 'mesos-cvmfs-page', section: 7, about: 'a page', also: ['mesos-cvmfs(1)'], version: VERSION, seconds: 0 });
    expect(page).toMatch(/^\.TH "MESOS-CVMFS-PAGE" "7" "January 1970" /);
    expect(page.split('\n').filter((line) => /^[.'](?!(TH|SH|SS|PP|TP|IP|RS|RE|nf|fi|ad l|nh)\b)/.test(line))).toEqual([]);
    expect(page.match(/^\.nf$/gm)?.length).toBe(page.match(/^\.fi$/gm)?.length);
    expect(page).not.toMatch(/^```|\]\(/m);
  });

  it('keep what roff would take for itself', () => {
    const page = manPage({ text: '# T\n\n.hidden `a-b` \\n **bold** [text](link.md)\n\n| a | b |\n|---|---|\n| `x\\|y` | says it |\n', name: 'n', section: 5, about: 'a', also: [], version: '1', seconds: 0 });
    expect(page).toContain('\\&.hidden \\fBa\\-b\\fR \\en \\fBbold\\fR text');
    expect(page).toContain('.TP\n\\fBx|y\\fR\nsays it');
  });
});

describe('completion', () => {
  const complete = (...words: string[]): string[] => {
    const script = `${bashCompletion!(table)}\nCOMP_WORDS=(mesos-cvmfs "$@"); COMP_CWORD=$#; _mesos_cvmfs; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', cwd: TOP });
    expect(stderr).toBe('');
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('offers commands, what comes below them, and their options', () => {
    expect(complete('um')).toEqual(['umount']);
    expect(complete('image', 'pro')).toEqual(['profile']);
    expect(complete('image', 'profile', '')).toEqual(expect.arrayContaining(['show', 'export', 'import', 'remove']));
    expect(complete('mount', 'images.example.org', '/mnt', '--pub')).toEqual(['--public-key']);
    expect(complete('--json', 'cache', 'check', '--re')).toEqual(['--repair']);
    expect(complete('mount', '--public-key', 'READ')).toEqual(['README.md']);
    expect(complete('repo', 'serve', '--listen', '')).toEqual([]);
  });

  (has('zsh') ? it : it.skip)('of zsh parses', () => {
    expect(spawnSync('zsh', ['-n'], { input: zshCompletion!(table), encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('of zsh knows the same commands', () => {
    for (const { usage } of table.commands) expect(zshCompletion!(table)).toContain(`'${usage.replace(/ ?[<[].*/, '')}'`);
  });
});
