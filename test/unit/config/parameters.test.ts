import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { ConfigFiles } from '../../../src/config/host-files';
import { hostFiles } from '../../../src/config/host-files';
import { readParameterFile, type Parameter } from '../../../src/config/parameter-file';
import { checkParameters } from '../../../src/config/parameter-table';
import { readParameters } from '../../../src/config/parameters';

function parse(text: string): Record<string, string> {
  const parameters = new Map<string, Parameter>();
  readParameterFile(text, '/etc/cvmfs/x.conf', parameters);
  return Object.fromEntries([...parameters].map(([name, { value }]) => [name, value]));
}

describe('a parameter file', () => {
  it.each<[string, string, Record<string, string>]>([
    ['plain', 'A=1\n  B=two\r\n', { A: '1', B: 'two' }],
    ['quotes', `A="a b"\nB='c $A # d'\nC=e"f g"'h'\\ i`, { A: 'a b', B: 'c $A # d', C: 'ef gh i' }],
    ['comments', '# x\nA=1 # one\nB=a#b\n\n:\n', { A: '1', B: 'a#b' }],
    ['prefixes', 'export A=1\nreadonly B=2\nexport readonly C=3\nexport A B', { A: '1', B: '2', C: '3' }],
    ['expansions', 'A=1\nB="$A-${A}_${NONE}x"\nC=${NONE:-dflt}\nD=\'$A\'\nE="\\$A"\nF=$', { A: '1', B: '1-1_x', C: 'dflt', D: '$A', E: '$A', F: '$' }],
    ['continuation', 'A="http://s1;\\\nhttp://s2"\nB=2', { A: 'http://s1;http://s2', B: '2' }],
    ['empty values', 'A=\nB=""\nC= # nothing', { A: '', B: '', C: '' }],
    ['url with specials', 'CVMFS_HTTP_PROXY="http://a:3128|http://b:3128;DIRECT"', { CVMFS_HTTP_PROXY: 'http://a:3128|http://b:3128;DIRECT' }],
    ['if taken', 'U=yes\nif [ "$U" = "yes" ]; then\n  A=1\nelse\n  A=2\nfi', { U: 'yes', A: '1' }],
    ['if not taken', 'if [ "x$U" = "xyes" ]\nthen\n A=1\nelif [ -z "$U" ] && [ ! -n "$U" ]; then\n A=3\nelse\n A=2\nfi\nB=1', { A: '3', B: '1' }],
    ['nested', 'if [ a = b ]; then\n if [ a = a ]; then A=1; fi\n else\n if [ a != b ] ; then\n A=2\n fi\nfi', { A: '2' }],
    ['on one line', 'if [ -n "x" ]; then A="1;2"; else A=3; fi', { A: '1;2' }],
    ['skips what it need not know', 'if [ a = b ]; then\n A=$(hostname)\n . other\nfi\nB=1', { B: '1' }],
  ])('%s', (_name, text, values) => {
    expect(parse(text)).toEqual(values);
  });

  it.each([
    ['A=$(hostname)', ':1:', 'without a shell|substitution'],
    ['A=1\nB=`hostname`', ':2:', 'substitution'],
    ['. /etc/other', ':1:', 'KEY=VALUE'],
    ['A=a b', ':1:', 'quotes'],
    ['A=1; rm -rf /', ':1:', 'quotes'],
    ['A=http://a|http://b', ':1:', 'quotes'],
    ['A="open', ':1:', 'not closed'],
    ['A=${B#x}', ':1:', 'expansion'],
    ['if [ -f /etc/x ]; then\nA=1\nfi', ':2:', 'test other'],
    ['if [ $(id -u) = 0 ]; then\n:\nelse\n if [ a = a ]; then\n A=1\n fi\nfi', ':5:', 'substitution'],
    ['if [ a = b ]; then\nA=1\nelif [ -f x ]; then\nfi', ':3:', 'test other'],
    ['if [ a = a ]; then\nA=1', ':1:', 'no "fi"'],
    ['fi', ':1:', 'without "if"'],
    ['for x in a; do', ':1:', 'KEY=VALUE'],
    ['eval A=1', ':1:', 'KEY=VALUE'],
    ['A=1\nf() {\n}', ':2:', 'KEY=VALUE'],
  ])('refuses %j with file and line', (text, where, why) => {
    expect(() => parse(text)).toThrow(new RegExp(`^/etc/cvmfs/x\\.conf${where}.*(${why})`));
  });

  it('passes over an undecidable "if" that sets nothing of matter, as Debian’s package ships it', () => {
    const parameters = new Map<string, Parameter>();
    const text = 'if [ -f /etc/debian_version ] && grep -q "a\\|b" /etc/debian_version;\nthen\n    :\nelse\n    IGNORED=$(x)\nfi\nB=1\n';
    readParameterFile(text, '/x', parameters, (name) => name !== 'IGNORED');
    expect([...parameters.keys()]).toEqual(['B']);
    expect(() => readParameterFile(text, '/x', parameters)).toThrow(/^\/x:5: .*test other/);
  });

  it('is bounded', () => {
    expect(() => parse(`A=xxxxxxxxxxxxxxxx\n${'A="$A$A"\n'.repeat(64)}`)).toThrow(/longer than/);
    expect(() => parse('if [ a = a ]; then\n'.repeat(100))).toThrow(/nested/);
  });
});

describe('readParameters', () => {
  const layers: Record<string, string> = {
    '/e/default.conf': 'A=default.conf\nCVMFS_KEYS_DIR=/etc/cvmfs/keys\nORDER=1',
    '/e/default.d/20-b.conf': 'ORDER=${ORDER}3\nA=b',
    '/e/default.d/10-a.conf': 'ORDER=${ORDER}2\nA=a',
    '/e/default.d/README': 'not a parameter file (',
    '/e/default.local': 'ORDER=${ORDER}4\nCVMFS_HTTP_PROXY=DIRECT',
    '/e/domain.d/example.org.conf': 'ORDER=${ORDER}5\nCVMFS_SERVER_URL="http://s1/@org@/@fqrn@;http://s2/@other@"',
    '/e/domain.d/example.org.local': 'ORDER=${ORDER}6',
    '/e/config.d/images.example.org.conf': 'ORDER=${ORDER}7',
    '/e/config.d/images.example.org.local': 'ORDER=${ORDER}8',
    '/e/config.d/other.example.org.conf': 'ORDER=wrong',
  };
  const files: ConfigFiles = {
    read: (file) => layers[file],
    list: (dir) => Object.keys(layers).filter((file) => path.dirname(file) === dir).map((file) => path.basename(file)).sort(),
  };

  it('reads the layers in order, options last, and substitutes', () => {
    const { values, files: read, warnings } = readParameters({ fqrn: 'images.example.org', files, baseDir: '/e', options: ['CVMFS_X=a=b @fqrn@', 'ORDER=9'] });
    expect(values.get('A')).toEqual({ value: 'b', file: '/e/default.d/20-b.conf', line: 2 });
    expect(values.get('ORDER')?.value).toBe('9');
    expect(readParameters({ fqrn: 'images.example.org', files, baseDir: '/e' }).values.get('ORDER')?.value).toBe('12345678');
    expect(values.get('CVMFS_SERVER_URL')?.value).toBe('http://s1/images/images.example.org;http://s2/@other@');
    expect(values.get('CVMFS_X')).toEqual({ value: 'a=b images.example.org', file: '-o', line: 0 });
    expect(read).toHaveLength(8);
    expect(warnings).toEqual([]);
  });

  it('warns of a configuration repository, and fails where the site requires it', () => {
    const withRepository = (text: string): ConfigFiles => ({ read: (file) => (file === '/e/default.conf' ? text : undefined), list: () => [] });
    const { warnings } = readParameters({ fqrn: 'a.b', files: withRepository('CVMFS_CONFIG_REPOSITORY=config.example.org'), baseDir: '/e' });
    expect(warnings).toMatchObject([{ code: 'CONFIG_REPOSITORY_NOT_READ', subject: 'a.b' }]);
    const { values } = readParameters({ fqrn: 'a.b', files: withRepository('CVMFS_CONFIG_REPOSITORY=c.d\nCVMFS_CONFIG_REPO_REQUIRED=yes'), baseDir: '/e' });
    expect(() => checkParameters(values)).toThrow(/default\.conf:2/);
  });

  it.each(['../../etc', 'a/b', '', 'a..b', '.a', 'a'.repeat(61)])('refuses the repository name %j before a path is made of it', (fqrn) => {
    expect(() => readParameters({ fqrn, files, baseDir: '/e' })).toThrow(/not the name of a repository/);
  });

  it('refuses an option that is none', () => {
    expect(() => readParameters({ fqrn: 'a.b', files, options: ['CVMFS_X'] })).toThrow(/NAME=VALUE/);
  });
});

describe('hostFiles', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cvmfs-config-'));
  afterAll(() => fs.rmSync(dir, { recursive: true }));

  it('reads and lists, and tells absent from bad', () => {
    fs.writeFileSync(path.join(dir, 'a'), 'text');
    fs.writeFileSync(path.join(dir, 'latin'), Buffer.from([0xe9]));
    fs.writeFileSync(path.join(dir, 'big'), Buffer.alloc(1024 * 1024 + 1));
    expect(hostFiles.read(path.join(dir, 'a'))).toBe('text');
    expect(hostFiles.read(path.join(dir, 'none'))).toBeUndefined();
    expect(hostFiles.list(dir)).toEqual(['a', 'big', 'latin']);
    expect(hostFiles.list(path.join(dir, 'none'))).toEqual([]);
    expect(() => hostFiles.read(path.join(dir, 'latin'))).toThrow(/UTF-8/);
    expect(() => hostFiles.read(path.join(dir, 'big'))).toThrow(/limit/);
    expect(() => hostFiles.read('/dev/zero')).toThrow(/regular/);
    expect(() => hostFiles.read(dir)).toThrow(/regular|EISDIR/);
  });
});
