/** Mesos' own numbers (docs/mesos-facts.md, protobuf facts): a wrong one is silent data loss between us and an agent. */
import { spawnSync } from 'node:child_process';
import * as path from 'node:path';
import type { ProtobufTypeDefinition } from '@grpc/proto-loader';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { loadContracts, protoDir } from '../../../provisioner/grpc/protos';
import { SHAPES } from '../../../provisioner/grpc/generated/shapes.generated';

interface Descriptor {
  readonly name: string;
  readonly syntax: string;
  readonly dependency: readonly string[];
  readonly messageType: ReadonlyArray<{ readonly name: string; readonly field: ReadonlyArray<{ readonly name: string; readonly label: number }> }>;
}

const numbers = (message: string) => Object.fromEntries(Object.entries(SHAPES[message] ?? {}).map(([number, field]) => [field.name, Number(number)]));

describe('the contracts', () => {
  it("carry Mesos' numbers", () => {
    expect(numbers('mesos.ContainerID')).toEqual({ value: 1, parent: 2 });
    expect(numbers('mesos.Image')).toEqual({ type: 1, appc: 2, docker: 3, cached: 4, cvmfs: 5 });
    expect(SHAPES['mesos.Image']?.[1]?.values).toEqual({ 1: 'APPC', 2: 'DOCKER', 3: 'CVMFS' });
    expect(numbers('mesos.Image.Cvmfs')).toEqual({ repository: 1, path: 2 });
    expect(numbers('mesos.Image.Docker')).toEqual({ name: 1, credential: 2, config: 3 });
    expect(numbers('docker.spec.v1.ImageManifest')).toMatchObject({ config: 9, architecture: 10, os: 11, Size: 12 });
    expect(numbers('docker.spec.v1.ImageManifest.Config')).toEqual({ Hostname: 1, Entrypoint: 2, Env: 3, User: 4, Cmd: 5, WorkingDir: 6, Image: 8, Labels: 9 });
  });

  it('include the containerizer messages that an isolator is given', () => {
    const loaded = loadSync('mesos/slave/containerizer.proto', { includeDirs: [protoDir()], keepCase: true });
    const { type } = loaded['mesos.slave.ContainerConfig'] as unknown as { type: { field: Array<{ name: string; number: number }> } };
    expect(Object.fromEntries(type.field.map((field) => [field.name, field.number]))).toMatchObject({ executor_info: 8, task_info: 9, command_info: 11, container_info: 12, directory: 3, rootfs: 5, docker: 7 });
  });

  it('carry them in what the isolator is told and answers', () => {
    expect(numbers('mesos.slave.ContainerConfig')).toEqual({ executor_info: 8, task_info: 9, command_info: 11, container_info: 12, container_class: 14, directory: 3, ephemeral_volumes: 15, user: 4, rootfs: 5, docker: 7 });
    expect(numbers('mesos.slave.ContainerLaunchInfo')).toEqual({ environment: 2, mounts: 17, task_environment: 15 });
    expect(numbers('mesos.slave.ContainerMountInfo')).toEqual({ target: 1, source: 2, type: 3, flags: 4, options: 5 });
    expect(numbers('mesos.slave.ContainerState')).toEqual({ executor_info: 1, container_id: 2, pid: 3, directory: 4, ephemeral_volumes: 5, container_info: 6 });
    expect(numbers('mesos.slave.ContainerLimitation')).toEqual({ message: 2, reason: 3 });
    expect(SHAPES['mesos.slave.ContainerLimitation']?.[3]?.values).toEqual({ 19: 'REASON_CONTAINER_LIMITATION', 20: 'REASON_CONTAINER_LIMITATION_DISK' });
    expect(numbers('mesos.Resource')).toEqual({ name: 1, type: 2, scalar: 3, disk: 7 });
    expect(SHAPES['mesos.Resource']?.[2]?.values).toEqual({ 0: 'SCALAR', 1: 'RANGES', 2: 'SET', 3: 'TEXT' });
    expect(numbers('mesos.ResourceStatistics')).toEqual({ timestamp: 1, disk_statistics: 43 });
    expect(numbers('mesos.DiskStatistics')).toEqual({ persistence: 2, used_bytes: 4 });
    expect(numbers('mesos.ContainerStatus')).toEqual({ container_id: 4, executor_pid: 3 });
    expect(numbers('mesos.TaskInfo')).toEqual({ name: 1, task_id: 2, slave_id: 3, command: 7, container: 9, labels: 10 });
    expect(numbers('mesos.ExecutorInfo')).toEqual({ type: 15, executor_id: 1, framework_id: 8, command: 7, container: 11, name: 9, labels: 14 });
  });

  it('are found from the source and from the built tree', () => {
    const root = path.resolve(__dirname, '../../..');
    expect(protoDir(path.join(root, 'provisioner/grpc'))).toBe(path.join(root, 'proto'));
    expect(protoDir(path.join(root, 'dist/provisioner/grpc'))).toBe(path.join(root, 'proto'));
    expect(() => protoDir('/nowhere/at/all')).toThrow(/install the package again/);
  });

  it('offer the services under their fixed names', () => {
    const contracts = loadContracts();
    expect(Object.keys(contracts.service('mesos.cvmfs.v1.Provisioner'))).toEqual(['Recover', 'Provision', 'Destroy', 'PruneImages']);
    expect(contracts.service('mesos.cvmfs.v1.Provisioner').Provision.path).toBe('/mesos.cvmfs.v1.Provisioner/Provision');
    expect(Object.keys(contracts.service('mesos.cvmfs.v1.Admin'))).toEqual(['Status', 'Ps', 'Resolve', 'Prefetch', 'Pin', 'Unpin']);
    expect(Object.keys(contracts.service('mesos.cvmfs.v1.Isolator'))).toEqual(['Recover', 'Prepare', 'Isolate', 'Watch', 'Update', 'Usage', 'Status', 'Cleanup']);
  });

  it('are shown to reflection as they are written: proto2 files stay proto2, with their required fields and imports', () => {
    const { packageDefinition } = loadContracts();
    const { fileDescriptorProtos } = packageDefinition['mesos.cvmfs.v1.ProvisionRequest'] as ProtobufTypeDefinition;
    const { FileDescriptorProto } = require('protobufjs/ext/descriptor') as { FileDescriptorProto: { decode(bytes: Buffer): Descriptor } };
    const files = new Map(fileDescriptorProtos.map((bytes) => FileDescriptorProto.decode(bytes)).map((file) => [file.name, file]));
    expect([...files.keys()].sort()).toEqual(['mesos/cvmfs/v1/admin.proto', 'mesos/cvmfs/v1/isolator.proto', 'mesos/cvmfs/v1/provisioner.proto', 'mesos/docker/v1.proto', 'mesos/mesos.proto', 'mesos/slave/containerizer.proto']);
    expect(files.get('mesos/cvmfs/v1/provisioner.proto')).toMatchObject({ syntax: 'proto3', dependency: ['mesos/mesos.proto', 'mesos/docker/v1.proto'] });
    const mesos = files.get('mesos/mesos.proto')!;
    expect(mesos.syntax).toBe('');
    const LABEL_REQUIRED = 2;
    expect(mesos.messageType.find(({ name }) => name === 'Image')?.field.filter(({ label }) => label === LABEL_REQUIRED).map(({ name }) => name)).toEqual(['type']);
    expect(() => new ReflectionService(packageDefinition)).not.toThrow();
  });

  const protoc = spawnSync('protoc', ['--version']).error === undefined;
  (protoc ? it : it.skip)(`are accepted by protoc${protoc ? '' : ' (protobuf-compiler is not installed)'}`, () => {
    const run = spawnSync(path.resolve(__dirname, '../../lint/protoc.sh'), { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.status).toBe(0);
  });
});
