/** The flags that agents are given, in all modes and forms. */
import { commandLineText, dcosText, environmentText, modulesText } from '../../../src/cli/agent/flag-text';
import { hasSecret, dockerConfig } from '../../../src/cli/agent/docker-config';
import { mesosDurationMs } from '../../../src/cli/agent/mesos-agent';
import { configuredMode, wantedFlags } from '../../../src/cli/agent/wanted-flags';
import type { WantedOptions } from '../../../src/cli/agent/wanted-flags';
import { loadConfig } from '../../../src/config/config';
import type { Config } from '../../../src/config/config';

function config(more = 'enabled = true\ndocker_store_dir = "/var/lib/store"', isolator = ''): Config {
  const text = `[facade]\n${more}\n${isolator}`;
  const files = { read: (file: string) => (file === '/c.toml' ? text : undefined), list: () => [] };
  return loadConfig({ files, file: '/c.toml', flags: {} });
}

const flags = (options: Partial<WantedOptions>, given = config()): Record<string, string> => Object.fromEntries(wantedFlags(given, { mode: 'facade', plainNames: false, ...options }).map(({ name, value }) => [name, value]));

it('of the facade', () => {
  expect(flags({})).toEqual({
    containerizers: 'mesos',
    launcher: 'linux',
    isolation: 'filesystem/linux,docker/runtime,cgroups/cpu,cgroups/mem,namespaces/pid,disk/du,volume/sandbox_path',
    image_providers: 'docker',
    image_provisioner_backend: 'overlay',
    docker_store_dir: '/var/lib/store',
    runtime_dir: '/var/run/mesos',
    executor_registration_timeout: '5mins',
  });
});

it('of the module: ours is the last isolator, and those of the operator stay', () => {
  const given = flags({ mode: 'module', isolation: ['cgroups/all', 'org_mesos_cvmfs_Isolator', 'filesystem/linux'] });
  expect(given['isolation']).toBe('docker/runtime,cgroups/all,filesystem/linux,org_mesos_cvmfs_Isolator');
  expect(given['modules_dir']).toBe('/etc/mesos-cvmfs/modules');
});

it('of a patched agent: nothing of the facade', () => {
  expect(Object.keys(flags({ mode: 'patched', dockerConfigFile: '/x', plainNames: true }))).toEqual(['containerizers', 'launcher', 'isolation', 'image_providers', 'executor_registration_timeout', 'remote_provisioner']);
  expect(flags({ mode: 'patched' })['remote_provisioner']).toBe('unix:///run/mesos-cvmfs/provisioner.sock');
});

it('with plain names, a secret and the work directory', () => {
  const given = flags({ plainNames: true, dockerConfigFile: '/s/docker-config.json' }, config('enabled = true\nlisten = "127.0.0.1:500"\ndocker_store_dir = "/s"\nagent_work_dir = "/w"'));
  expect(given).toMatchObject({ docker_registry: 'http://127.0.0.1:500', docker_config: 'file:///s/docker-config.json', work_dir: '/w' });
});

it('the mode follows the configuration', () => {
  expect(configuredMode(config())).toBe('facade');
  expect(configuredMode(config('', ''))).toBeUndefined();
  expect(configuredMode(config(undefined, '[isolator]\nenabled = true'))).toBe('module');
});

it('in words for each kind of file', () => {
  const wanted = [{ name: 'docker_store_dir', value: "/a b'$", about: 'why' }, { name: 'launcher', value: 'linux', about: 'so' }];
  expect(environmentText(wanted)).toBe('# why\nMESOS_DOCKER_STORE_DIR="/a b\'\\$"\n# so\nMESOS_LAUNCHER=linux\n# curl must not ask a proxy for the facade\nno_proxy=127.0.0.1,localhost\n');
  expect(commandLineText(wanted)).toBe("--docker_store_dir='/a b'\\''$' \\\n--launcher=linux\n");
  expect(dcosText(wanted, false)).toContain('\n# why\nMESOS_DOCKER_STORE_DIR="/a b\'\\$"\n');
  expect(dcosText(wanted, false)).not.toContain('LAUNCHER');
  expect(dcosText(wanted, true)).toContain('#MESOS_ISOLATION=<the list of DC/OS>,org_mesos_cvmfs_Isolator');
  expect(JSON.parse(modulesText(config()))).toEqual({ libraries: [{ file: '/usr/lib/mesos-cvmfs/isolator/libmesos_cvmfs_isolator.so', modules: [{ name: 'org_mesos_cvmfs_Isolator', parameters: [{ key: 'socket', value: 'unix:///run/mesos-cvmfs/provisioner.sock' }] }] }] });
});

it('a docker configuration is right in the new and the old form alone', () => {
  const { auths } = dockerConfig(config(), 's3cret');
  expect(hasSecret(JSON.stringify({ auths }), config(), 's3cret')).toBe(true);
  expect(hasSecret(JSON.stringify(auths), config(), 's3cret')).toBe(true);
  for (const text of ['', '[]', 'null', '{"auths": 7}', JSON.stringify({ auths: { '127.0.0.1:61080': 7 } }), JSON.stringify({ auths })]) expect(hasSecret(text, config(), 'other')).toBe(false);
});

it('durations of Mesos', () => {
  expect(['1mins', '10.5secs', '2hrs', '500ms', '1weeks'].map(mesosDurationMs)).toEqual([60_000, 10_500, 7_200_000, 500, 604_800_000]);
  expect(['', '1', '1m', 'x1mins', '-1secs'].map(mesosDurationMs)).toEqual([undefined, undefined, undefined, undefined, undefined]);
});
