// Written by 'node proto/generate.js' from proto/; change the contracts, not this file.
import type { MessageShape } from '../presence';

/** Fields by number of each message that a request can hold (provisioner/grpc/presence.ts). */
export const SHAPES: Readonly<Record<string, MessageShape>> = {
  'docker.spec.v1.ImageManifest': {
    1: { name: 'id', type: 'string' },
    2: { name: 'parent', type: 'string' },
    3: { name: 'comment', type: 'string' },
    4: { name: 'created', type: 'string' },
    5: { name: 'container', type: 'string' },
    6: { name: 'container_config', type: 'message', message: 'docker.spec.v1.ImageManifest.Config' },
    7: { name: 'docker_version', type: 'string' },
    8: { name: 'author', type: 'string' },
    9: { name: 'config', type: 'message', message: 'docker.spec.v1.ImageManifest.Config' },
    10: { name: 'architecture', type: 'string' },
    11: { name: 'os', type: 'string' },
    12: { name: 'Size', type: 'uint32' },
  },
  'docker.spec.v1.ImageManifest.Config': {
    1: { name: 'Hostname', type: 'string' },
    2: { name: 'Entrypoint', type: 'string', repeated: true },
    3: { name: 'Env', type: 'string', repeated: true },
    4: { name: 'User', type: 'string' },
    5: { name: 'Cmd', type: 'string', repeated: true },
    6: { name: 'WorkingDir', type: 'string' },
    8: { name: 'Image', type: 'string' },
    9: { name: 'Labels', type: 'message', message: 'docker.spec.v1.ImageManifest.Config.LabelsEntry', repeated: true },
  },
  'docker.spec.v1.ImageManifest.Config.LabelsEntry': {
    1: { name: 'key', type: 'string' },
    2: { name: 'value', type: 'string' },
  },
  'mesos.CommandInfo': {
    2: { name: 'environment', type: 'message', message: 'mesos.Environment' },
    6: { name: 'shell', type: 'bool' },
    3: { name: 'value', type: 'string' },
    7: { name: 'arguments', type: 'string', repeated: true },
    5: { name: 'user', type: 'string' },
  },
  'mesos.ContainerID': {
    1: { name: 'value', type: 'string', required: true },
    2: { name: 'parent', type: 'message', message: 'mesos.ContainerID' },
  },
  'mesos.ContainerInfo': {
    1: { name: 'type', type: 'enum', values: { 1: 'DOCKER', 2: 'MESOS' }, required: true },
    2: { name: 'volumes', type: 'message', message: 'mesos.Volume', repeated: true },
    4: { name: 'hostname', type: 'string' },
    5: { name: 'mesos', type: 'message', message: 'mesos.ContainerInfo.MesosInfo' },
  },
  'mesos.ContainerInfo.MesosInfo': {
    1: { name: 'image', type: 'message', message: 'mesos.Image' },
  },
  'mesos.ContainerStatus': {
    4: { name: 'container_id', type: 'message', message: 'mesos.ContainerID' },
    3: { name: 'executor_pid', type: 'uint32' },
  },
  'mesos.Credential': {
    1: { name: 'principal', type: 'string', required: true },
    2: { name: 'secret', type: 'string' },
  },
  'mesos.DiskStatistics': {
    2: { name: 'persistence', type: 'message', message: 'mesos.Resource.DiskInfo.Persistence' },
    4: { name: 'used_bytes', type: 'uint64' },
  },
  'mesos.Environment': {
    1: { name: 'variables', type: 'message', message: 'mesos.Environment.Variable', repeated: true },
  },
  'mesos.Environment.Variable': {
    1: { name: 'name', type: 'string', required: true },
    3: { name: 'type', type: 'enum', values: { 0: 'UNKNOWN', 1: 'VALUE', 2: 'SECRET' } },
    2: { name: 'value', type: 'string' },
    4: { name: 'secret', type: 'message', message: 'mesos.Secret' },
  },
  'mesos.ExecutorID': {
    1: { name: 'value', type: 'string', required: true },
  },
  'mesos.ExecutorInfo': {
    15: { name: 'type', type: 'enum', values: { 0: 'UNKNOWN', 1: 'DEFAULT', 2: 'CUSTOM' } },
    1: { name: 'executor_id', type: 'message', message: 'mesos.ExecutorID', required: true },
    8: { name: 'framework_id', type: 'message', message: 'mesos.FrameworkID' },
    7: { name: 'command', type: 'message', message: 'mesos.CommandInfo' },
    11: { name: 'container', type: 'message', message: 'mesos.ContainerInfo' },
    9: { name: 'name', type: 'string' },
    14: { name: 'labels', type: 'message', message: 'mesos.Labels' },
  },
  'mesos.FrameworkID': {
    1: { name: 'value', type: 'string', required: true },
  },
  'mesos.Image': {
    1: { name: 'type', type: 'enum', values: { 1: 'APPC', 2: 'DOCKER', 3: 'CVMFS' }, required: true },
    2: { name: 'appc', type: 'message', message: 'mesos.Image.Appc' },
    3: { name: 'docker', type: 'message', message: 'mesos.Image.Docker' },
    4: { name: 'cached', type: 'bool' },
    5: { name: 'cvmfs', type: 'message', message: 'mesos.Image.Cvmfs' },
  },
  'mesos.Image.Appc': {
    1: { name: 'name', type: 'string', required: true },
    2: { name: 'id', type: 'string' },
    3: { name: 'labels', type: 'message', message: 'mesos.Labels' },
  },
  'mesos.Image.Cvmfs': {
    1: { name: 'repository', type: 'string', required: true },
    2: { name: 'path', type: 'string', required: true },
  },
  'mesos.Image.Docker': {
    1: { name: 'name', type: 'string', required: true },
    2: { name: 'credential', type: 'message', message: 'mesos.Credential' },
    3: { name: 'config', type: 'message', message: 'mesos.Secret' },
  },
  'mesos.Label': {
    1: { name: 'key', type: 'string', required: true },
    2: { name: 'value', type: 'string' },
  },
  'mesos.Labels': {
    1: { name: 'labels', type: 'message', message: 'mesos.Label', repeated: true },
  },
  'mesos.Resource': {
    1: { name: 'name', type: 'string', required: true },
    2: { name: 'type', type: 'enum', values: { 0: 'SCALAR', 1: 'RANGES', 2: 'SET', 3: 'TEXT' }, required: true },
    3: { name: 'scalar', type: 'message', message: 'mesos.Value.Scalar' },
    7: { name: 'disk', type: 'message', message: 'mesos.Resource.DiskInfo' },
  },
  'mesos.Resource.DiskInfo': {
    1: { name: 'persistence', type: 'message', message: 'mesos.Resource.DiskInfo.Persistence' },
  },
  'mesos.Resource.DiskInfo.Persistence': {
    1: { name: 'id', type: 'string', required: true },
    2: { name: 'principal', type: 'string' },
  },
  'mesos.ResourceStatistics': {
    1: { name: 'timestamp', type: 'double', required: true },
    43: { name: 'disk_statistics', type: 'message', message: 'mesos.DiskStatistics', repeated: true },
  },
  'mesos.Secret': {
    1: { name: 'type', type: 'enum', values: { 0: 'UNKNOWN', 1: 'REFERENCE', 2: 'VALUE' } },
    2: { name: 'reference', type: 'message', message: 'mesos.Secret.Reference' },
    3: { name: 'value', type: 'message', message: 'mesos.Secret.Value' },
  },
  'mesos.Secret.Reference': {
    1: { name: 'name', type: 'string', required: true },
    2: { name: 'key', type: 'string' },
  },
  'mesos.Secret.Value': {
    1: { name: 'data', type: 'bytes', required: true },
  },
  'mesos.SlaveID': {
    1: { name: 'value', type: 'string', required: true },
  },
  'mesos.TaskID': {
    1: { name: 'value', type: 'string', required: true },
  },
  'mesos.TaskInfo': {
    1: { name: 'name', type: 'string', required: true },
    2: { name: 'task_id', type: 'message', message: 'mesos.TaskID', required: true },
    3: { name: 'slave_id', type: 'message', message: 'mesos.SlaveID', required: true },
    7: { name: 'command', type: 'message', message: 'mesos.CommandInfo' },
    9: { name: 'container', type: 'message', message: 'mesos.ContainerInfo' },
    10: { name: 'labels', type: 'message', message: 'mesos.Labels' },
  },
  'mesos.Value.Scalar': {
    1: { name: 'value', type: 'double', required: true },
  },
  'mesos.Volume': {
    3: { name: 'mode', type: 'enum', values: { 1: 'RW', 2: 'RO' }, required: true },
    1: { name: 'container_path', type: 'string', required: true },
    2: { name: 'host_path', type: 'string' },
    4: { name: 'image', type: 'message', message: 'mesos.Image' },
  },
  'mesos.cvmfs.v1.Container': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID' },
    2: { name: 'rootfses', type: 'message', message: 'mesos.cvmfs.v1.Rootfs', repeated: true },
  },
  'mesos.cvmfs.v1.DestroyRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
  },
  'mesos.cvmfs.v1.DestroyResponse': {
    1: { name: 'destroyed', type: 'bool' },
  },
  'mesos.cvmfs.v1.IsolatedContainer': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    2: { name: 'container_config', type: 'message', message: 'mesos.slave.ContainerConfig' },
  },
  'mesos.cvmfs.v1.IsolatedLimit': {
    1: { name: 'name', type: 'string' },
    2: { name: 'value', type: 'message', message: 'mesos.Value.Scalar' },
  },
  'mesos.cvmfs.v1.IsolatedLimitation': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID' },
    2: { name: 'limitation', type: 'message', message: 'mesos.slave.ContainerLimitation' },
  },
  'mesos.cvmfs.v1.IsolatorCleanupRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
  },
  'mesos.cvmfs.v1.IsolatorCleanupResponse': {
    1: { name: 'known', type: 'bool' },
  },
  'mesos.cvmfs.v1.IsolatorIsolateRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    2: { name: 'pid', type: 'uint32' },
  },
  'mesos.cvmfs.v1.IsolatorIsolateResponse': {
  },
  'mesos.cvmfs.v1.IsolatorPrepareRequest': {
    1: { name: 'run', type: 'message', message: 'mesos.cvmfs.v1.IsolatorRun', required: true },
    2: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    3: { name: 'container_config', type: 'message', message: 'mesos.slave.ContainerConfig', required: true },
  },
  'mesos.cvmfs.v1.IsolatorPrepareResponse': {
    1: { name: 'launch_info', type: 'message', message: 'mesos.slave.ContainerLaunchInfo' },
  },
  'mesos.cvmfs.v1.IsolatorRecoverRequest': {
    1: { name: 'run', type: 'message', message: 'mesos.cvmfs.v1.IsolatorRun', required: true },
    2: { name: 'states', type: 'message', message: 'mesos.slave.ContainerState', repeated: true },
    3: { name: 'orphans', type: 'message', message: 'mesos.ContainerID', repeated: true },
    4: { name: 'launched', type: 'message', message: 'mesos.cvmfs.v1.IsolatedContainer', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorRecoverResponse': {
    1: { name: 'forgotten', type: 'message', message: 'mesos.ContainerID', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorRun': {
    1: { name: 'id', type: 'string', required: true },
    2: { name: 'sequence', type: 'uint64' },
  },
  'mesos.cvmfs.v1.IsolatorStatusRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
  },
  'mesos.cvmfs.v1.IsolatorStatusResponse': {
    1: { name: 'status', type: 'message', message: 'mesos.ContainerStatus' },
    2: { name: 'repositories', type: 'message', message: 'mesos.cvmfs.v1.RepositoryUse', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorUpdateRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    2: { name: 'resources', type: 'message', message: 'mesos.Resource', repeated: true },
    3: { name: 'limits', type: 'message', message: 'mesos.cvmfs.v1.IsolatedLimit', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorUpdateResponse': {
  },
  'mesos.cvmfs.v1.IsolatorUsageRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
  },
  'mesos.cvmfs.v1.IsolatorUsageResponse': {
    1: { name: 'statistics', type: 'message', message: 'mesos.ResourceStatistics' },
    2: { name: 'repositories', type: 'message', message: 'mesos.cvmfs.v1.RepositoryUse', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorWatchRequest': {
    1: { name: 'limited', type: 'message', message: 'mesos.ContainerID', repeated: true },
  },
  'mesos.cvmfs.v1.IsolatorWatchResponse': {
    1: { name: 'limitations', type: 'message', message: 'mesos.cvmfs.v1.IsolatedLimitation', repeated: true },
  },
  'mesos.cvmfs.v1.PinRequest': {
    1: { name: 'image', type: 'message', message: 'mesos.Image', required: true },
  },
  'mesos.cvmfs.v1.PinResponse': {
    1: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
    2: { name: 'objects', type: 'uint64' },
    3: { name: 'bytes', type: 'uint64' },
  },
  'mesos.cvmfs.v1.PinnedImage': {
    1: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
    2: { name: 'pinned_ms', type: 'uint64' },
  },
  'mesos.cvmfs.v1.PrefetchRequest': {
    1: { name: 'image', type: 'message', message: 'mesos.Image', required: true },
  },
  'mesos.cvmfs.v1.PrefetchResponse': {
    1: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
    2: { name: 'objects', type: 'uint64' },
    3: { name: 'bytes', type: 'uint64' },
  },
  'mesos.cvmfs.v1.ProvisionRequest': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    2: { name: 'image', type: 'message', message: 'mesos.Image', required: true },
    3: { name: 'idempotency_key', type: 'string' },
    4: { name: 'backend', type: 'string' },
  },
  'mesos.cvmfs.v1.ProvisionResponse': {
    1: { name: 'rootfs', type: 'string' },
    2: { name: 'ephemeral_volumes', type: 'string', repeated: true },
    3: { name: 'docker_manifest', type: 'message', message: 'docker.spec.v1.ImageManifest' },
    4: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
  },
  'mesos.cvmfs.v1.PruneImagesRequest': {
    1: { name: 'excluded_images', type: 'message', message: 'mesos.Image', repeated: true },
  },
  'mesos.cvmfs.v1.PruneImagesResponse': {
    1: { name: 'freed_bytes', type: 'uint64' },
    2: { name: 'pruned_images', type: 'uint64' },
  },
  'mesos.cvmfs.v1.PsRequest': {
  },
  'mesos.cvmfs.v1.PsResponse': {
    1: { name: 'containers', type: 'message', message: 'mesos.cvmfs.v1.Container', repeated: true },
    2: { name: 'quarantined', type: 'message', message: 'mesos.cvmfs.v1.Quarantined', repeated: true },
    3: { name: 'pinned', type: 'message', message: 'mesos.cvmfs.v1.PinnedImage', repeated: true },
  },
  'mesos.cvmfs.v1.Quarantined': {
    1: { name: 'container_id', type: 'message', message: 'mesos.ContainerID' },
    2: { name: 'reason', type: 'string' },
  },
  'mesos.cvmfs.v1.RecoverRequest': {
    1: { name: 'known_container_ids', type: 'message', message: 'mesos.ContainerID', repeated: true },
  },
  'mesos.cvmfs.v1.RecoverResponse': {
    1: { name: 'destroyed', type: 'message', message: 'mesos.ContainerID', repeated: true },
    2: { name: 'quarantined', type: 'message', message: 'mesos.cvmfs.v1.Quarantined', repeated: true },
  },
  'mesos.cvmfs.v1.RepositoryStatus': {
    1: { name: 'repository', type: 'string' },
    2: { name: 'mountpoint', type: 'string' },
    3: { name: 'state', type: 'enum', values: { 0: 'REPOSITORY_STATE_UNSPECIFIED', 1: 'REPOSITORY_STATE_MOUNTING', 2: 'REPOSITORY_STATE_MOUNTED', 3: 'REPOSITORY_STATE_FAILED' } },
    4: { name: 'failure', type: 'string' },
    5: { name: 'revision', type: 'uint64' },
    6: { name: 'root_hash', type: 'string' },
  },
  'mesos.cvmfs.v1.RepositoryUse': {
    1: { name: 'repository', type: 'string' },
    2: { name: 'path', type: 'string' },
    3: { name: 'fetched_bytes', type: 'uint64' },
    4: { name: 'sharing', type: 'uint32' },
  },
  'mesos.cvmfs.v1.ResolveRequest': {
    1: { name: 'image', type: 'message', message: 'mesos.Image', required: true },
  },
  'mesos.cvmfs.v1.ResolveResponse': {
    1: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
    2: { name: 'docker_manifest', type: 'message', message: 'docker.spec.v1.ImageManifest' },
    3: { name: 'config_source', type: 'string' },
    4: { name: 'warnings', type: 'string', repeated: true },
  },
  'mesos.cvmfs.v1.ResolvedImage': {
    1: { name: 'reference', type: 'string' },
    2: { name: 'repository', type: 'string' },
    3: { name: 'path', type: 'string' },
    4: { name: 'root_hash', type: 'string' },
    5: { name: 'revision', type: 'uint64' },
    6: { name: 'digest', type: 'string' },
  },
  'mesos.cvmfs.v1.Rootfs': {
    1: { name: 'id', type: 'string' },
    2: { name: 'path', type: 'string' },
    3: { name: 'backend', type: 'string' },
    4: { name: 'state', type: 'enum', values: { 0: 'ROOTFS_STATE_UNSPECIFIED', 1: 'ROOTFS_STATE_PROVISIONING', 2: 'ROOTFS_STATE_PROVISIONED', 3: 'ROOTFS_STATE_DESTROYING' } },
    5: { name: 'image', type: 'message', message: 'mesos.cvmfs.v1.ResolvedImage' },
    6: { name: 'created_ms', type: 'uint64' },
  },
  'mesos.cvmfs.v1.StatusRequest': {
  },
  'mesos.cvmfs.v1.StatusResponse': {
    1: { name: 'version', type: 'string' },
    2: { name: 'pid', type: 'uint32' },
    3: { name: 'started_ms', type: 'uint64' },
    4: { name: 'http', type: 'string' },
    5: { name: 'ready', type: 'bool' },
    6: { name: 'repositories', type: 'message', message: 'mesos.cvmfs.v1.RepositoryStatus', repeated: true },
    7: { name: 'containers', type: 'uint32' },
    8: { name: 'rootfses', type: 'uint32' },
    9: { name: 'warnings', type: 'string', repeated: true },
    10: { name: 'facade', type: 'string' },
  },
  'mesos.cvmfs.v1.UnpinRequest': {
    1: { name: 'digest', type: 'string', required: true },
  },
  'mesos.cvmfs.v1.UnpinResponse': {
    1: { name: 'unpinned', type: 'bool' },
  },
  'mesos.slave.ContainerConfig': {
    8: { name: 'executor_info', type: 'message', message: 'mesos.ExecutorInfo' },
    9: { name: 'task_info', type: 'message', message: 'mesos.TaskInfo' },
    11: { name: 'command_info', type: 'message', message: 'mesos.CommandInfo', required: true },
    12: { name: 'container_info', type: 'message', message: 'mesos.ContainerInfo' },
    14: { name: 'container_class', type: 'enum', values: { 1: 'DEFAULT', 2: 'DEBUG' } },
    3: { name: 'directory', type: 'string', required: true },
    15: { name: 'ephemeral_volumes', type: 'string', repeated: true },
    4: { name: 'user', type: 'string' },
    5: { name: 'rootfs', type: 'string' },
    7: { name: 'docker', type: 'message', message: 'mesos.slave.ContainerConfig.Docker' },
  },
  'mesos.slave.ContainerConfig.Docker': {
    1: { name: 'manifest', type: 'message', message: 'docker.spec.v1.ImageManifest' },
  },
  'mesos.slave.ContainerLaunchInfo': {
    2: { name: 'environment', type: 'message', message: 'mesos.Environment' },
    17: { name: 'mounts', type: 'message', message: 'mesos.slave.ContainerMountInfo', repeated: true },
    15: { name: 'task_environment', type: 'message', message: 'mesos.Environment' },
  },
  'mesos.slave.ContainerLimitation': {
    2: { name: 'message', type: 'string' },
    3: { name: 'reason', type: 'enum', values: { 19: 'REASON_CONTAINER_LIMITATION', 20: 'REASON_CONTAINER_LIMITATION_DISK' } },
  },
  'mesos.slave.ContainerMountInfo': {
    1: { name: 'target', type: 'string', required: true },
    2: { name: 'source', type: 'string' },
    3: { name: 'type', type: 'string' },
    4: { name: 'flags', type: 'uint32' },
    5: { name: 'options', type: 'string' },
  },
  'mesos.slave.ContainerState': {
    1: { name: 'executor_info', type: 'message', message: 'mesos.ExecutorInfo' },
    6: { name: 'container_info', type: 'message', message: 'mesos.ContainerInfo' },
    2: { name: 'container_id', type: 'message', message: 'mesos.ContainerID', required: true },
    3: { name: 'pid', type: 'uint64', required: true },
    4: { name: 'directory', type: 'string', required: true },
    5: { name: 'ephemeral_volumes', type: 'string', repeated: true },
  },
};
