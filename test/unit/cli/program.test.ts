/** What the command line makes of its words, before any command runs. */
import * as path from 'node:path';
import { buildProgram } from '../../../src/cli/program';
import { COMMANDS } from '../../../src/cli/commands';
import { Failure } from '../../../src/error';

const EXAMPLE = path.resolve(__dirname, '../../../examples/marathon/web.json');

/** Runs words that must fail before a command is loaded. */
async function refusal(...words: string[]): Promise<Failure> {
  try {
    await buildProgram('0.0.0').parseAsync(['node', 'mesos-cvmfs', ...words]);
  } catch (error) {
    return Failure.from(error);
  }
  throw new Error(`${words.join(' ')} was not refused`);
}

describe('what is malformed', () => {
  const cases: ReadonlyArray<[string[], string, string]> = [
    [['stat'], "unknown command 'stat'", 'did you mean status?'],
    [['image', 'prefecth', 'x'], "unknown command 'prefecth'", 'did you mean prefetch?'],
    [['status', '--jsno'], "unknown option '--jsno'", 'did you mean --json?'],
    [['mount', 'a.example.org', '/mnt', '--sever', 'x'], "unknown option '--sever'", 'did you mean --server?'],
    [['nothing-like-it'], "unknown command 'nothing-like-it'", 'see mesos-cvmfs --help'],
    [['mount', 'a.example.org'], "missing required argument 'dir'", 'see mesos-cvmfs mount --help'],
    [['umount', '/a', '/b'], 'too many arguments', 'see mesos-cvmfs umount --help'],
    [['provision', 'debian:12'], "required option '--container <id>' not specified", 'see mesos-cvmfs provision --help'],
    [['repo', 'create', 'a.example.org', '--keys', 'k'], "required option '--storage <dir>' not specified", 'see mesos-cvmfs repo create --help'],
    [['status', '--config'], "option '--config <file>' argument missing", '--help'],
    [['cache'], 'cache: a command is missing', 'give one of usage, check, wipe'],
    [[], 'a command is missing', 'give one of serve'],
  ];
  it.each(cases)('%j', async (words, what, next) => {
    const failure = await refusal(...words);
    expect(failure.code).toBe('INVALID_ARGUMENT');
    expect(failure.what).toContain(what);
    expect(failure.next).toContain(next);
  });
});

describe('what comes later', () => {
  const later = COMMANDS.filter(({ load }) => load === undefined).map(({ usage }) => usage);

  it.each(later)('%s says so, whatever it is given', async (usage) => {
    for (const more of [[], ['something', '--plan', '--storage', 'x']]) {
      const failure = await refusal(...usage.split(' '), ...more);
      expect(failure.code).toBe('UNIMPLEMENTED');
      expect(failure.message).toBe(`${usage} comes with a later release`);
    }
  });

  it('is everything that the design names and this release does not have', () => {
    expect(later).toEqual(['image ls', 'repo ls', 'repo tag', 'repo diff', 'repo rollback', 'repo gc']);
  });
});

describe('arguments that a command refuses by itself', () => {
  const storage = ['--storage', '/nowhere', '--keys', '/nowhere'];
  const cases: ReadonlyArray<[string[], string]> = [
    [['recover'], 'no container is named'],
    [['recover', 'a', '--none'], '--none, and containers are named'],
    [['provision', 'debian:12', '--container', 'a//b'], 'it is empty'],
    [['provision', 'debian:12', '--container', '../b'], "'..' is not a name"],
    [['provision', 'Debian:12', '--container', 'a'], 'image reference'],
    [['destroy', ''], 'it is empty'],
    [['resolve', 'cvmfs://images.example.org/%zz'], 'is not followed by two hex digits'],
    [['resolve', 'cvmfs://..//x'], 'is not the name of a repository'],
    [['image', 'pin'], 'no image is named'],
    [['image', 'pin', '--list', '--remove'], 'takes neither an image nor --remove'],
    [['publish', 'zip:/x', 'a.example.org', ...storage], '"zip" is not a kind of source'],
    [['publish', '/x', 'a.example.org', ...storage], '"/x" is not a source'],
    [['publish', 'dir:/x', 'a.example.org', ...storage, '--compression', 'lz4'], '--compression "lz4"'],
    [['publish', 'dir:/x', 'a.example.org', ...storage, '--to', '/a%'], 'is not followed by two hex digits'],
    [['publish', 'dir:/x', 'a.example.org', ...storage, '--to', '/a/../b'], 'is not a path in a repository'],
    [['repo', 'create', 'a.example.org', ...storage, '--hash', 'md5'], 'is not one of sha1, rmd160, shake128'],
    [['repo', 'create', 'a.example.org', ...storage, '--ttl', '5'], '--ttl'],
    [['repo', 'serve', 'a.example.org', '--storage', '/nowhere', '--listen', 'here'], '--listen'],
    [['repo', 'check', 'a.example.org', '--storage', '/nowhere'], 'no key is given'],
    [['repo', 'check', 'a.example.org', '--storage', '/nowhere', '--public-key', '/nowhere/key'], '--public-key: "/nowhere/key" is not a file that exists'],
    [['cache', 'usage', '--cache-dir', 'here'], '--cache-dir'],
    [['status', '--run-dir', 'here'], '--run-dir'],
    [['marathon', 'translate', EXAMPLE, '--facade', 'example.org:61080'], 'is not where an agent reaches its facade'],
    [['marathon', 'validate', EXAMPLE, '--facade', '127.0.0.1:70000'], 'is not where an agent reaches its facade'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'http://me:secret@marathon'], 'the URL of Marathon has credentials in it'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'ftp://marathon'], 'is not the URL of a Marathon'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'http://marathon', '--user', 'me'], '--user and --password-file belong together'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'http://marathon', '--user', 'me', '--token-file', 'x'], '--token-file and --user exclude each other'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'http://marathon', '--timeout', '5'], '--timeout'],
    [['marathon', 'deploy', EXAMPLE, '--url', 'http://marathon', '--max-failures', '0'], '--max-failures 0: not a number from 1'],
  ];
  it.each(cases)('%j', async (words, what) => {
    const failure = await refusal(...words);
    expect([failure.code, failure.message]).toEqual(['INVALID_ARGUMENT', expect.stringContaining(what)]);
  });

  const later: ReadonlyArray<string[]> = [
    ['publish', 'oci:/x', 'a.example.org', ...storage],
    ['publish', 'docker://registry.example.org/x', 'a.example.org', ...storage],
    ['publish', 'docker-archive:/x', 'a.example.org', ...storage],
    ['publish', 'dir:/x', 'a.example.org', ...storage, '--plan'],
    ['repo', 'create', 'a.example.org', '--storage', 's3://bucket/x', '--keys', '/nowhere'],
  ];
  it.each(later.map((words) => [words]))('%j comes later', async (words) => {
    const failure = await refusal(...words);
    expect([failure.code, failure.message]).toEqual(['UNIMPLEMENTED', expect.stringContaining('comes with a later release')]);
  });
});
