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
  'mesos.ContainerID': {
    1: { name: 'value', type: 'string', required: true },
    2: { name: 'parent', type: 'message', message: 'mesos.ContainerID' },
  },
  'mesos.Credential': {
    1: { name: 'principal', type: 'string', required: true },
    2: { name: 'secret', type: 'string' },
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
  },
  'mesos.cvmfs.v1.UnpinRequest': {
    1: { name: 'digest', type: 'string', required: true },
  },
  'mesos.cvmfs.v1.UnpinResponse': {
    1: { name: 'unpinned', type: 'bool' },
  },
};
