/** What operators copy: environment files, manifests, checks, apps. Each parses, and names only what exists. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parse } from 'smol-toml';
import { ISOLATOR_MODULE, MODULE_FILE, wantedFlags } from '../../../src/cli/agent/wanted-flags';
import { loadConfig } from '../../../src/config/config';
import type { Config } from '../../../src/config/config';
import { hostFiles } from '../../../src/config/host-files';

const EXAMPLES = path.resolve(__dirname, '../../../examples');
const read = (name: string): string => fs.readFileSync(path.join(EXAMPLES, name), 'utf8');
const json = (name: string): unknown => JSON.parse(read(name));

/** Flags of an agent of Mesos 1.12 (its src/slave/flags.cpp), as far as these files have them. */
const FLAGS = [
  'attributes', 'containerizers', 'docker_config', 'docker_registry', 'docker_store_dir', 'executor_registration_timeout', 'image_providers', 'image_provisioner_backend',
  'isolation', 'launcher', 'modules_dir', 'reconfiguration_policy', 'resources', 'runtime_dir', 'work_dir',
];
/** Isolators of Mesos 1.12 (its src/slave/containerizer/mesos/containerizer.cpp), and those of modules. */
const ISOLATORS = [
  'cgroups/all', 'cgroups/cpu', 'cgroups/mem', 'disk/du', 'docker/runtime', 'docker/volume', 'filesystem/linux', 'linux/capabilities', 'namespaces/ipc', 'namespaces/pid', 'network/cni', 'posix/rlimits',
  'volume/csi', 'volume/sandbox_path', 'volume/secret', 'com_mesosphere_dcos_MetricsIsolatorModule', 'org_mesos_cvmfs_Isolator',
];
const ENVIRONMENTS = ['agent/facade.env', 'agent/module.env', 'dcos/mesos-slave-common'];

/** As systemd reads an EnvironmentFile; `commented` adds the lines that are there to be switched on. */
function environment(name: string, options: { readonly commented?: boolean } = {}): Map<string, string> {
  const text = options.commented === true ? read(name).replace(/^#(?=[A-Z_]+=)/gm, '') : read(name);
  return new Map(
    text.split('\n').flatMap((line): Array<[string, string]> => {
      if (/^\s*(#|$)/.test(line)) return [];
      const [, key, value] = /^([A-Za-z_]+)=(\S+)$/.exec(line) ?? [];
      if (key === undefined) throw new Error(`${name}: ${line}`);
      return [[key, value!]];
    }),
  );
}
const configOf = (name: string): Config => loadConfig({ files: hostFiles, file: path.join(EXAMPLES, name), flags: {} });
const portOf = (value: string): number => Number(/:(\d+)$/.exec(value)![1]);

describe('environment files of agents', () => {
  it.each(ENVIRONMENTS)('%s names flags and isolators that an agent has', (name) => {
    const all = environment(name, { commented: true });
    expect([...all.keys()].filter((key) => key !== 'no_proxy' && !FLAGS.includes(key.replace(/^MESOS_/, '').toLowerCase()))).toEqual([]);
    const isolation = all.get('MESOS_ISOLATION');
    if (isolation === undefined) return;
    expect(isolation.split(',').filter((one) => !ISOLATORS.includes(one))).toEqual([]);
    expect(isolation.split(',')).toEqual(expect.arrayContaining(['filesystem/linux', 'docker/runtime']));
  });

  it.each([
    ['agent/facade.env', 'agent/config.toml'],
    ['dcos/mesos-slave-common', 'dcos/config.toml'],
  ])('%s and %s say the same', (name, config) => {
    const flags = environment(name, { commented: true });
    const { facade } = configOf(config);
    expect(flags.get('MESOS_IMAGE_PROVISIONER_BACKEND')).toBe('overlay');
    expect(flags.get('MESOS_DOCKER_REGISTRY')).toBe(`http://${facade.listen.host}:${facade.listen.port}`);
    expect(flags.get('MESOS_ATTRIBUTES')).toBe('mesos-cvmfs:facade');
    const dirs = { MESOS_DOCKER_STORE_DIR: facade.dockerStoreDir, MESOS_WORK_DIR: facade.agentWorkDir, MESOS_RUNTIME_DIR: facade.agentRuntimeDir };
    for (const [flag, value] of Object.entries(dirs)) if (flags.has(flag)) expect([flag, flags.get(flag)]).toEqual([flag, value]);
  });

  it('add our isolator to what an agent without the module has', () => {
    expect(environment('agent/module.env').get('MESOS_ISOLATION')).toBe(`${environment('agent/facade.env').get('MESOS_ISOLATION')},org_mesos_cvmfs_Isolator`);
    expect(environment('agent/module.env').get('MESOS_MODULES_DIR')).toBe('/etc/mesos-cvmfs/modules');
  });

  it.each([
    ['facade', ['agent/facade.env']],
    ['module', ['agent/facade.env', 'agent/module.env']],
  ] as const)('say all that agent flags prints in the mode %s', (mode, names) => {
    const flags = new Map(names.flatMap((name) => [...environment(name)]));
    for (const { name, value } of wantedFlags(configOf('agent/config.toml'), { mode, plainNames: false })) expect([name, flags.get(`MESOS_${name.toUpperCase()}`)]).toEqual([name, value]);
  });

  it('keep our ports out of what is offered to tasks', () => {
    const { http, facade } = configOf('agent/config.toml');
    const [, first, last] = /^ports:\[(\d+)-(\d+)\]$/.exec(environment('agent/facade.env').get('MESOS_RESOURCES')!)!.map(Number);
    for (const { port } of [http, facade.listen]) expect(port < first! || port > last!).toBe(true);
    const offered = [...read('dcos/README.md').matchAll(/(\d{4,5})–(\d{4,5})/g)].map(([, from, to]) => [Number(from), Number(to)]);
    expect(offered.length).toBe(7);
    for (const { port } of [http, facade.listen]) for (const [from, to] of offered) expect(port < from! || port > to!).toBe(true);
  });
});

describe('files beside an agent', () => {
  it.each(['agent/config.toml', 'dcos/config.toml'])('%s is a configuration with a facade', (name) => {
    const config = configOf(name);
    expect(config.facade.enabled).toBe(true);
    expect(config.provisioner.imageRepositories.every((one) => config.repositories.has(one))).toBe(true);
    expect(config.isolator.allowedRepositories.every((one) => config.repositories.has(one))).toBe(true);
  });

  it('load our module under the name that the agents are told', () => {
    const { libraries } = json('agent/modules/mesos-cvmfs.json') as { libraries: Array<{ file: string; modules: Array<{ name: string; parameters: Array<{ key: string; value: string }> }> }> };
    expect(libraries.map(({ file, modules }) => [file, modules.map(({ name }) => name)])).toEqual([[MODULE_FILE, [ISOLATOR_MODULE]]]);
    for (const { key, value } of libraries[0]!.modules[0]!.parameters) expect([typeof key, typeof value]).toEqual(['string', 'string']);
    const socket = libraries[0]!.modules[0]!.parameters.find(({ key }) => key === 'socket')!.value;
    expect(configOf('agent/config.toml').listen).toContain(socket.replace(/^unix:(\/\/)?/, ''));
  });

  it('give the unit of an agent an environment that systemd reads', () => {
    const files = [...read('agent/mesos-agent.service.d.conf').matchAll(/^EnvironmentFile=-?(.*)$/gm)].map(([, file]) => path.basename(file!));
    expect(files).toEqual(['facade.env', 'module.env']);
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return;
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-'));
    try {
      fs.mkdirSync(path.join(dir, 'mesos-agent.service.d'));
      fs.writeFileSync(path.join(dir, 'mesos-agent.service'), '[Service]\nExecStart=/bin/true\n');
      fs.copyFileSync(path.join(EXAMPLES, 'agent/mesos-agent.service.d.conf'), path.join(dir, 'mesos-agent.service.d/images.conf'));
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', path.join(dir, 'mesos-agent.service')], { encoding: 'utf8', timeout: 30_000 });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });

  it('have telegraf ask for our figures', () => {
    const { inputs } = parse(read('dcos/telegraf.d/mesos-cvmfs.conf')) as unknown as { inputs: { prometheus: Array<{ urls: string[] }>; procstat: Array<{ systemd_unit: string }> } };
    const { http } = configOf('dcos/config.toml');
    expect(inputs.prometheus.map(({ urls }) => urls)).toEqual([[`http://${http.host}:${http.port}/metrics`]]);
    for (const { systemd_unit } of inputs.procstat) expect(fs.existsSync(path.join(EXAMPLES, 'systemd', systemd_unit))).toBe(true);
  });

  it('have DC/OS check what there is to check', () => {
    const { custom_checks } = json('dcos/custom-checks.json') as { custom_checks: { node_checks: { checks: Record<string, { description: string; cmd: string[]; timeout: string; roles: string[] }>; poststart: string[]; prestart: string[] } } };
    const { checks, poststart, prestart } = custom_checks.node_checks;
    expect([...poststart].sort()).toEqual(Object.keys(checks).sort());
    expect(prestart).toEqual([]);
    const { http, facade } = configOf('dcos/config.toml');
    for (const { cmd, timeout, description, roles } of Object.values(checks)) {
      expect([cmd.slice(0, 2), timeout, description.length > 0, roles]).toEqual([['/bin/sh', '-c'], expect.stringMatching(/^\d+s$/), true, ['agent']]);
      expect(spawnSync('sh', ['-n', '-c', cmd[2]!]).status).toBe(0);
      const url = /http:\/\/\S+/.exec(cmd[2]!)?.[0];
      if (url !== undefined) expect([http.port, facade.listen.port]).toContain(portOf(new URL(url).origin));
    }
  });
});

describe('apps', () => {
  it('ask for the attribute that agents have', () => {
    const app = json('placement/app.json') as { constraints: string[][]; container: { docker: { image: string } } };
    const pod = json('placement/pod.json') as { containers: Array<{ image: { kind: string; id: string } }>; scheduling: { placement: { constraints: Array<{ fieldName: string; operator: string; value: string }> } } };
    const [name, value] = environment('agent/facade.env').get('MESOS_ATTRIBUTES')!.split(':');
    expect(app.constraints).toContainEqual([name, 'LIKE', value]);
    expect(pod.scheduling.placement.constraints).toContainEqual({ fieldName: name, operator: 'LIKE', value });
    const { facade, repositories } = configOf('agent/config.toml');
    for (const image of [app.container.docker.image, pod.containers[0]!.image.id]) {
      const [registry, repository] = image.split('/');
      expect(registry).toBe(`${facade.listen.host}:${facade.listen.port}`);
      expect(repositories.has(repository!)).toBe(true);
    }
  });

  it('of the catalog are rendered from its options', () => {
    interface Schema { readonly properties: Record<string, { properties: Record<string, { default: unknown; type: string }>; required: string[] }> }
    const { properties } = json('universe/config.json') as Schema;
    const given = json('universe/options.json') as Record<string, Record<string, unknown>>;
    const values: Record<string, unknown> = {};
    for (const [group, { properties: options, required }] of Object.entries(properties)) {
      expect([...required].sort()).toEqual(Object.keys(options).sort());
      for (const [name, { default: value, type }] of Object.entries(options)) {
        const chosen = given[group]?.[name] ?? value;
        expect([name, type === 'integer' ? Number.isInteger(chosen) : typeof chosen === type]).toEqual([name, true]);
        values[`${group}.${name}`] = chosen;
      }
    }
    for (const [group, options] of Object.entries(given)) for (const name of Object.keys(options)) expect(values).toHaveProperty([`${group}.${name}`]);
    const rendered = read('universe/marathon.json.mustache')
      .replace(/^\s*\{\{#([\w.]+)\}\}\n([^]*?)^\s*\{\{\/\1\}\}\n/gm, (_, name: string, inner: string) => (values[name] === true ? inner : ''))
      .replace(/\{\{([\w.]+)\}\}/g, (_, name: string) => {
        expect(values).toHaveProperty([name]);
        return String(values[name]);
      });
    expect(JSON.parse(rendered)).toMatchObject({ instances: 24, acceptedResourceRoles: ['*', 'slave_public'], constraints: [['hostname', 'UNIQUE'], ['mesos-cvmfs', 'LIKE', 'facade']] });
    expect(json('universe/package.json')).toMatchObject({ packagingVersion: '4.0', name: 'mesos-cvmfs-monitor' });
    expect(json('universe/resource.json')).toEqual({ assets: {} });
  });
});
