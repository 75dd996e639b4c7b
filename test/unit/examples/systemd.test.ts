/** The unit files are understood by systemd to the last word, and say what the processes need. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

const EXAMPLES = path.resolve(__dirname, '../../../examples/systemd');
const AGENTS = ['mesos-slave', 'mesos-agent', 'dcos-mesos-slave', 'dcos-mesos-slave-public'];

const version = Number(/^systemd ([0-9]+)/.exec(spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? 0);
const withSystemd = version > 0 ? describe : describe.skip;

const units = fs.readdirSync(EXAMPLES).filter((name) => name.endsWith('.service'));
const settings = (name: string): Map<string, string> =>
  new Map(
    fs
      .readFileSync(path.join(EXAMPLES, name), 'utf8')
      .split('\n')
      .filter((line) => /^[A-Z]\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

withSystemd(`unit files${version > 0 ? '' : ' (needs systemd-analyze: apt-get install systemd)'}`, () => {
  let dir: string;

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'units-'));
    fs.cpSync(EXAMPLES, dir, { recursive: true });
    // The installed program, and the agents that the drop-ins are for.
    const program = path.join(dir, 'mesos-cvmfs');
    fs.writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
    for (const name of units) fs.writeFileSync(path.join(dir, name), fs.readFileSync(path.join(dir, name), 'utf8').replaceAll('/usr/bin/mesos-cvmfs', program));
    for (const agent of AGENTS) fs.writeFileSync(path.join(dir, `${agent}.service`), `[Service]\nExecStart=${program}\n`);
  });

  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  const verify = (...names: string[]): { status: number | null; stdout: string; stderr: string } => {
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...names.map((name) => path.join(dir, name))], { encoding: 'utf8', timeout: 30_000 });
    return { status, stdout, stderr };
  };

  it('pass systemd-analyze verify without a word', () => {
    expect(units.sort()).toEqual(['mesos-cvmfs-keeper.service', 'mesos-cvmfs.service']);
    expect(verify(...units)).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it.each(AGENTS)('order %s after the service', (agent) => {
    expect(verify(`${agent}.service`, ...units)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(settings(`${agent}.service.d/mesos-cvmfs.conf`).get('After')).toContain('mesos-cvmfs.service');
    expect(settings('mesos-cvmfs.service').get('Before')!.split(' ')).toContain(`${agent}.service`);
  });

  it('keep what systemd knows from 254 on in a file of its own', () => {
    fs.cpSync(path.join(dir, 'since-254'), dir, { recursive: true });
    const { status, stderr } = verify('mesos-cvmfs-keeper.service');
    expect(status).toBe(0);
    if (version >= 254) expect(stderr).toBe('');
    else expect(stderr).toMatch(/^\S+preserve\.conf:\d+: Unknown key '?FileDescriptorStorePreserve'? in section \[?'?Service.*\n$/);
  });

  it('name a user and directories that systemd can make', () => {
    const users = spawnSync('systemd-sysusers', ['--dry-run', path.join(dir, 'sysusers.d/mesos-cvmfs.conf')], { encoding: 'utf8', timeout: 30_000 });
    expect({ status: users.status, stderr: users.stderr.replace(/^(Would|Creating|Suggested).*\n/gm, '') }).toEqual({ status: 0, stderr: '' });
    const root = path.join(dir, 'root');
    fs.mkdirSync(path.join(root, 'etc'), { recursive: true });
    fs.writeFileSync(path.join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nmesos-cvmfs:x:0:0::/:/bin/sh\n');
    fs.writeFileSync(path.join(root, 'etc/group'), 'root:x:0:\nmesos-cvmfs:x:0:\n');
    fs.mkdirSync(path.join(root, 'etc/tmpfiles.d'));
    fs.copyFileSync(path.join(dir, 'tmpfiles.d/mesos-cvmfs.conf'), path.join(root, 'etc/tmpfiles.d/mesos-cvmfs.conf'));
    const made = spawnSync('systemd-tmpfiles', ['--create', `--root=${root}`, 'mesos-cvmfs.conf'], { encoding: 'utf8', timeout: 30_000 });
    expect({ status: made.status, stderr: made.stderr }).toEqual({ status: 0, stderr: '' });
    const mode = (name: string): string => (fs.statSync(path.join(root, name)).mode & 0o7777).toString(8);
    expect(['run/mesos-cvmfs', 'var/lib/mesos-cvmfs', 'var/cache/mesos-cvmfs', 'cvmfs'].map(mode)).toEqual(['711', '700', '700', '755']);
  });
});

describe('unit files', () => {
  it.each(units)('%s gives the service no mount namespace of its own', (name) => {
    const namespaced = /^(Private(Mounts|Tmp|Devices|Users|Network)|Protect\w+|ReadOnly\w+|ReadWrite\w+|Inaccessible\w+|Bind\w*Paths|TemporaryFileSystem|RootDirectory|RootImage|MountFlags|MountImages|DynamicUser|NoExecPaths|ExecPaths|LoadCredential|SetCredential|CacheDirectory|StateDirectory)$/;
    expect([...settings(name).keys()].filter((key) => namespaced.test(key))).toEqual([]);
  });

  it('keep servers, spare and descriptors over the keeper’s end', () => {
    expect(Object.fromEntries(settings('mesos-cvmfs-keeper.service'))).toMatchObject({
      Type: 'notify',
      NotifyAccess: 'all',
      FileDescriptorStoreMax: '4096',
      KillMode: 'process',
      OOMPolicy: 'continue',
      OOMScoreAdjust: '-900',
      Restart: 'always',
      RuntimeDirectoryPreserve: 'yes',
      StartLimitIntervalSec: '0',
    });
    expect(settings('since-254/mesos-cvmfs-keeper.service.d/preserve.conf').get('FileDescriptorStorePreserve')).toBe('yes');
  });
});
