// Written by 'node proto/generate.js' from proto/; change the contracts, not this file.

/** A docker v1 image manifest. Agents use `config` alone, and abort when it is absent: we always set it. (`docker.spec.v1.ImageManifest`) */
export interface ImageManifest {
  /** Image id, hex. */
  readonly id?: string;
  /** Id of the layer below. */
  readonly parent?: string;
  /** Free text. */
  readonly comment?: string;
  /** RFC 3339. */
  readonly created?: string;
  /** The container that the image was committed from. */
  readonly container?: string;
  /** Configuration of that container; agents ignore it. */
  readonly container_config?: ImageManifestConfig;
  /** The docker that made it. */
  readonly docker_version?: string;
  /** Free text. */
  readonly author?: string;
  /** What the image says about running it. */
  readonly config?: ImageManifestConfig;
  /** GOARCH, such as `amd64`. */
  readonly architecture?: string;
  /** GOOS, such as `linux`. */
  readonly os?: string;
  /** Bytes of the layer. */
  readonly Size?: number;
}

/** What the image says about running it. (`docker.spec.v1.ImageManifest.Config`) */
export interface ImageManifestConfig {
  /** Host name; agents ignore it. */
  readonly Hostname?: string;
  /** The executable and its first arguments. */
  readonly Entrypoint: readonly string[];
  /** `NAME=value`; entries without `=` are skipped by agents. */
  readonly Env: readonly string[];
  /** User inside the image; agents warn and ignore it. */
  readonly User?: string;
  /** Arguments after the entrypoint, or the command when there is none. */
  readonly Cmd: readonly string[];
  /** Empty counts as unset; made by the agent when it is missing. */
  readonly WorkingDir?: string;
  /** Id of the image that this one was built on; agents ignore it. (Number 7 is unused.) */
  readonly Image?: string;
  /** Labels of the image. */
  readonly Labels: Readonly<Record<string, string>>;
}

/** What to execute. Mesos' `uris` (1) are the fetcher's business and left out. (`mesos.CommandInfo`) */
export interface CommandInfo {
  /** Added to what the container has otherwise; wins over the image's environment. */
  readonly environment?: Environment;
  /** Run `value` through /bin/sh -c; an image's own entrypoint needs false. */
  readonly shell?: boolean;
  /** The command line, or the executable when `shell` is false. */
  readonly value?: string;
  /** Arguments when `shell` is false, argv[0] first. */
  readonly arguments: readonly string[];
  /** Account on the host to run as. */
  readonly user?: string;
}

/** A container of an agent. `value` is a directory name on the host; nesting is told by `parent` alone. (`mesos.ContainerID`) */
export interface ContainerID {
  /** 1 to 242 bytes, no slash; agents generate UUIDs. */
  readonly value: string;
  /** The container that this one is nested in; absent for a root container. */
  readonly parent?: ContainerID;
}

/** How a container is made. Members that only built-in isolators read (docker, network, linux, limits, terminal) are left out. (`mesos.ContainerInfo`) */
export interface ContainerInfo {
  /** The containerizer. */
  readonly type: ContainerInfoType;
  /** In mount order. */
  readonly volumes: readonly Volume[];
  /** Host name inside the container. */
  readonly hostname?: string;
  /** With MESOS. */
  readonly mesos?: ContainerInfoMesosInfo;
}

/** Options of Mesos' own containerizer. (`mesos.ContainerInfo.MesosInfo`) */
export interface ContainerInfoMesosInfo {
  /** The image of the root file system; absent: the host's. */
  readonly image?: Image;
}

/** The containerizer. (`mesos.ContainerInfo.Type`) */
export type ContainerInfoType = 'DOCKER' | 'MESOS';

/** What an isolator knows of a running container. (`mesos.ContainerStatus`) */
export interface ContainerStatus {
  /** Which. */
  readonly container_id?: ContainerID;
  /** Its first process, on the host. */
  readonly executor_pid?: number;
}

/** Principal and secret of the old authentication. (`mesos.Credential`) */
export interface Credential {
  /** Who. */
  readonly principal: string;
  /** The password; never logged. */
  readonly secret?: string;
}

/** Use of one disk, or of what is counted like one. (`mesos.DiskStatistics`) */
export interface DiskStatistics {
  /** Which volume. */
  readonly persistence?: ResourceDiskInfoPersistence;
  /** In bytes. */
  readonly used_bytes?: string;
}

/** Environment of a command. (`mesos.Environment`) */
export interface Environment {
  /** Later ones win over earlier ones of the same name. */
  readonly variables: readonly EnvironmentVariable[];
}

/** One variable. (`mesos.Environment.Variable`) */
export interface EnvironmentVariable {
  /** Name of the variable. */
  readonly name: string;
  /** Which of the members holds. */
  readonly type?: EnvironmentVariableType;
  /** With VALUE. */
  readonly value?: string;
  /** With SECRET. */
  readonly secret?: Secret;
}

/** Which of the members holds. (`mesos.Environment.Variable.Type`) */
export type EnvironmentVariableType = 'UNKNOWN' | 'VALUE' | 'SECRET';

/** An executor of a framework on one agent. (`mesos.ExecutorID`) */
export interface ExecutorID {
  /** Chosen by the framework, or by the agent for command tasks. */
  readonly value: string;
}

/** The process that runs tasks; an isolator reads the names, the command, the container and the labels of it. (`mesos.ExecutorInfo`) */
export interface ExecutorInfo {
  /** Who wrote the executor. */
  readonly type?: ExecutorInfoType;
  /** Unique in the framework and agent. */
  readonly executor_id: ExecutorID;
  /** The framework; set by the master. */
  readonly framework_id?: FrameworkID;
  /** With CUSTOM. */
  readonly command?: CommandInfo;
  /** The container it runs in. */
  readonly container?: ContainerInfo;
  /** For people. */
  readonly name?: string;
  /** The framework's own; of a command task, copied from the task. */
  readonly labels?: Labels;
}

/** Who wrote the executor. (`mesos.ExecutorInfo.Type`) */
export type ExecutorInfoType = 'UNKNOWN' | 'DEFAULT' | 'CUSTOM';

/** A framework registered with the master. (`mesos.FrameworkID`) */
export interface FrameworkID {
  /** Given by the master. */
  readonly value: string;
}

/** An image to provision. (`mesos.Image`) */
export interface Image {
  /** Which of the members is meant. */
  readonly type: ImageType;
  /** With APPC. */
  readonly appc?: ImageAppc;
  /** With DOCKER. */
  readonly docker?: ImageDocker;
  /** Whether an agent may use an image that it has resolved before. */
  readonly cached?: boolean;
  /** With CVMFS. (An old prototype used 4, which Mesos gave to `cached` since.) */
  readonly cvmfs?: ImageCvmfs;
}

/** An App Container image. (`mesos.Image.Appc`) */
export interface ImageAppc {
  /** AC identifier. */
  readonly name: string;
  /** `sha512-` and the digest. */
  readonly id?: string;
  /** Further selection: version, os, arch. */
  readonly labels?: Labels;
}

/** A directory in a CernVM-FS repository. (`mesos.Image.Cvmfs`) */
export interface ImageCvmfs {
  /** Fully qualified repository name, such as `images.example.org`; must be configured. */
  readonly repository: string;
  /** Path from the repository's root, with or without a leading slash. Taken as it is: no percent encoding. */
  readonly path: string;
}

/** A docker image. (`mesos.Image.Docker`) */
export interface ImageDocker {
  /** `[registry/]repository[:tag][@digest]`, or `cvmfs://<repository>/<path>`. */
  readonly name: string;
  /** Not used by agents any more. */
  readonly credential?: Credential;
  /** The docker configuration file with the credentials of a registry; not needed here, never logged. */
  readonly config?: Secret;
}

/** Where the image comes from; decides which of the members is read. (`mesos.Image.Type`) */
export type ImageType = 'APPC' | 'DOCKER' | 'CVMFS';

/** Free text attached to tasks, executors and images. (`mesos.Label`) */
export interface Label {
  /** Name of the label. */
  readonly key: string;
  /** Its value; a label may have none. */
  readonly value?: string;
}

/** A list of labels; keys may repeat. (`mesos.Labels`) */
export interface Labels {
  /** In the order given by whoever wrote them. */
  readonly labels: readonly Label[];
}

/** A resource of a container, as an update tells it. Ranges, sets, roles and reservations are left out. (`mesos.Resource`) */
export interface Resource {
  /** cpus, mem, disk, … */
  readonly name: string;
  /** Which of the members holds. */
  readonly type: ValueType;
  /** With SCALAR. */
  readonly scalar?: ValueScalar;
  /** With disks. */
  readonly disk?: ResourceDiskInfo;
}

/** What distinguishes disks. (`mesos.Resource.DiskInfo`) */
export interface ResourceDiskInfo {
  /** With a persistent volume. */
  readonly persistence?: ResourceDiskInfoPersistence;
}

/** A volume that outlives its tasks. (`mesos.Resource.DiskInfo.Persistence`) */
export interface ResourceDiskInfoPersistence {
  /** Unique in the role on the agent. */
  readonly id: string;
  /** Who made it. */
  readonly principal?: string;
}

/** What a container has used; each isolator gives its part, and the agent merges them. (`mesos.ResourceStatistics`) */
export interface ResourceStatistics {
  /** Seconds since 1970. */
  readonly timestamp: number;
  /** By volume. */
  readonly disk_statistics: readonly DiskStatistics[];
}

/** A secret, by reference or by value. (`mesos.Secret`) */
export interface Secret {
  /** Which of the members holds. */
  readonly type?: SecretType;
  /** With REFERENCE. */
  readonly reference?: SecretReference;
  /** With VALUE. */
  readonly value?: SecretValue;
}

/** The name of a secret in a store. (`mesos.Secret.Reference`) */
export interface SecretReference {
  /** Name in the store. */
  readonly name: string;
  /** Member of a secret that has several. */
  readonly key?: string;
}

/** Which of the members holds. (`mesos.Secret.Type`) */
export type SecretType = 'UNKNOWN' | 'REFERENCE' | 'VALUE';

/** The secret itself. (`mesos.Secret.Value`) */
export interface SecretValue {
  /** Never logged. */
  readonly data: Buffer;
}

/** An agent. (`mesos.SlaveID`) */
export interface SlaveID {
  /** Given by the master. */
  readonly value: string;
}

/** A task of a framework. (`mesos.TaskID`) */
export interface TaskID {
  /** Chosen by the framework. */
  readonly value: string;
}

/** What a framework asked to run; an isolator reads the names, the command, the container and the labels of it. (`mesos.TaskInfo`) */
export interface TaskInfo {
  /** For people. */
  readonly name: string;
  /** Unique in the framework. */
  readonly task_id: TaskID;
  /** The agent it runs on. */
  readonly slave_id: SlaveID;
  /** With a command task. */
  readonly command?: CommandInfo;
  /** With a command task. */
  readonly container?: ContainerInfo;
  /** The framework's own. */
  readonly labels?: Labels;
}

/** Why a task ended. (`mesos.TaskStatus.Reason`) */
export type TaskStatusReason = 'REASON_CONTAINER_LIMITATION' | 'REASON_CONTAINER_LIMITATION_DISK';

/** A number. (`mesos.Value.Scalar`) */
export interface ValueScalar {
  /** Three decimals count. */
  readonly value: number;
}

/** Which of the members of a resource holds. (`mesos.Value.Type`) */
export type ValueType = 'SCALAR' | 'RANGES' | 'SET' | 'TEXT';

/** A volume of a container. Mesos' `source` (5) is left out. (`mesos.Volume`) */
export interface Volume {
  /** How the container may use it. */
  readonly mode: VolumeMode;
  /** Where it appears; a relative path is below the sandbox. */
  readonly container_path: string;
  /** A path on the host. */
  readonly host_path?: string;
  /** An image whose root file system is the volume. */
  readonly image?: Image;
}

/** How the container may use it. (`mesos.Volume.Mode`) */
export type VolumeMode = 'RW' | 'RO';

/** A container. (`mesos.cvmfs.v1.Container`) */
export interface Container {
  /** Which. */
  readonly container_id?: ContainerID;
  /** Oldest first. */
  readonly rootfses: readonly Rootfs[];
}

/** What to remove. (`mesos.cvmfs.v1.DestroyRequest`) */
export interface DestroyRequest {
  /** Required. The container; those nested in it go first. */
  readonly container_id: ContainerID;
}

/** What was removed. (`mesos.cvmfs.v1.DestroyResponse`) */
export interface DestroyResponse {
  /** False: there was nothing to remove. */
  readonly destroyed?: boolean;
}

/** A container that was launched by this run of the agent. (`mesos.cvmfs.v1.IsolatedContainer`) */
export interface IsolatedContainer {
  /** Required. Which. */
  readonly container_id: ContainerID;
  /** Of those only whose Prepare never reached the service. */
  readonly container_config?: ContainerConfig;
}

/** A limit that differs from what was asked for. (`mesos.cvmfs.v1.IsolatedLimit`) */
export interface IsolatedLimit {
  /** Of the resource. */
  readonly name?: string;
  /** Infinity: none. */
  readonly value?: ValueScalar;
}

/** One container that cannot go on. (`mesos.cvmfs.v1.IsolatedLimitation`) */
export interface IsolatedLimitation {
  /** Which. */
  readonly container_id?: ContainerID;
  /** Why. */
  readonly limitation?: ContainerLimitation;
}

/** A container that has ended. (`mesos.cvmfs.v1.IsolatorCleanupRequest`) */
export interface IsolatorCleanupRequest {
  /** Required. Which. */
  readonly container_id: ContainerID;
}

/** Whether it was known. (`mesos.cvmfs.v1.IsolatorCleanupResponse`) */
export interface IsolatorCleanupResponse {
  /** False is no error. */
  readonly known?: boolean;
}

/** The first process of a container. (`mesos.cvmfs.v1.IsolatorIsolateRequest`) */
export interface IsolatorIsolateRequest {
  /** Required. Which. */
  readonly container_id: ContainerID;
  /** On the host. */
  readonly pid?: number;
}

/** Nothing is to be said. (`mesos.cvmfs.v1.IsolatorIsolateResponse`) */
export type IsolatorIsolateResponse = Readonly<Record<never, never>>;

/** A container that is about to be launched. (`mesos.cvmfs.v1.IsolatorPrepareRequest`) */
export interface IsolatorPrepareRequest {
  /** Required. Which call of which run. */
  readonly run: IsolatorRun;
  /** Required. Which. */
  readonly container_id: ContainerID;
  /** Required. What it is to be. */
  readonly container_config: ContainerConfig;
}

/** What to do for it. (`mesos.cvmfs.v1.IsolatorPrepareResponse`) */
export interface IsolatorPrepareResponse {
  /** Absent when there is nothing to do. */
  readonly launch_info?: ContainerLaunchInfo;
}

/** Everything that lives on the agent. (`mesos.cvmfs.v1.IsolatorRecoverRequest`) */
export interface IsolatorRecoverRequest {
  /** Required. Which call of which run. */
  readonly run: IsolatorRun;
  /** Containers that were found again when the agent started. Only container_id, pid and directory are looked at. */
  readonly states: readonly ContainerState[];
  /** Containers that the agent is about to destroy; a Cleanup follows for each. */
  readonly orphans: readonly ContainerID[];
  /** Containers that were launched since, when the call is made again after the service was away. */
  readonly launched: readonly IsolatedContainer[];
}

/** What became of the others. (`mesos.cvmfs.v1.IsolatorRecoverResponse`) */
export interface IsolatorRecoverResponse {
  /** Containers that were remembered and live no more. */
  readonly forgotten: readonly ContainerID[];
}

/** Orders the calls of one module, so that a Recover that was late does not forget a container that was prepared since. (`mesos.cvmfs.v1.IsolatorRun`) */
export interface IsolatorRun {
  /** Required. Chosen anew each time that the module is loaded. */
  readonly id: string;
  /** Grows from call to call. */
  readonly sequence?: string;
}

/** A question about one container. (`mesos.cvmfs.v1.IsolatorStatusRequest`) */
export interface IsolatorStatusRequest {
  /** Required. Which. */
  readonly container_id: ContainerID;
}

/** What is known of a container. (`mesos.cvmfs.v1.IsolatorStatusResponse`) */
export interface IsolatorStatusResponse {
  /** For the agent, which merges it with others'. */
  readonly status?: ContainerStatus;
  /** Repositories that it uses. */
  readonly repositories: readonly RepositoryUse[];
}

/** New resources of a container. (`mesos.cvmfs.v1.IsolatorUpdateRequest`) */
export interface IsolatorUpdateRequest {
  /** Required. Which. */
  readonly container_id: ContainerID;
  /** All of them. */
  readonly resources: readonly Resource[];
  /** Where the limit is not the request. */
  readonly limits: readonly IsolatedLimit[];
}

/** Nothing is to be said. (`mesos.cvmfs.v1.IsolatorUpdateResponse`) */
export type IsolatorUpdateResponse = Readonly<Record<never, never>>;

/** A question about one container. (`mesos.cvmfs.v1.IsolatorUsageRequest`) */
export interface IsolatorUsageRequest {
  /** Required. Which. */
  readonly container_id: ContainerID;
}

/** What a container has used. (`mesos.cvmfs.v1.IsolatorUsageResponse`) */
export interface IsolatorUsageResponse {
  /** `disk_statistics` has an entry `cvmfs:<repository>` for each repository. */
  readonly statistics?: ResourceStatistics;
  /** The same with how exact it is. */
  readonly repositories: readonly RepositoryUse[];
}

/** Asks about all containers at once. (`mesos.cvmfs.v1.IsolatorWatchRequest`) */
export interface IsolatorWatchRequest {
  /** Those that are known already not to go on, and not cleaned up yet. */
  readonly limited: readonly ContainerID[];
}

/** None when the time was over. (`mesos.cvmfs.v1.IsolatorWatchResponse`) */
export interface IsolatorWatchResponse {
  /** Only what was not in the request. */
  readonly limitations: readonly IsolatedLimitation[];
}

/** What to keep. (`mesos.cvmfs.v1.PinRequest`) */
export interface PinRequest {
  /** Required. Which image. */
  readonly image: Image;
}

/** What is kept. (`mesos.cvmfs.v1.PinResponse`) */
export interface PinResponse {
  /** What the image was resolved to. */
  readonly image?: ResolvedImage;
  /** Objects of the image, those included that were in the cache before. */
  readonly objects?: string;
  /** Their bytes, unpacked. */
  readonly bytes?: string;
}

/** An image that the cache keeps. (`mesos.cvmfs.v1.PinnedImage`) */
export interface PinnedImage {
  /** Which. */
  readonly image?: ResolvedImage;
  /** When it was pinned, milliseconds since 1970. */
  readonly pinned_ms?: string;
}

/** What to fetch. (`mesos.cvmfs.v1.PrefetchRequest`) */
export interface PrefetchRequest {
  /** Required. Which image. */
  readonly image: Image;
}

/** What was fetched. (`mesos.cvmfs.v1.PrefetchResponse`) */
export interface PrefetchResponse {
  /** What the image was resolved to. */
  readonly image?: ResolvedImage;
  /** Objects of the image, those included that were in the cache before. */
  readonly objects?: string;
  /** Their bytes, unpacked. */
  readonly bytes?: string;
}

/** What to make. (`mesos.cvmfs.v1.ProvisionRequest`) */
export interface ProvisionRequest {
  /** Required. Whom it is for; a container may have several root file systems. */
  readonly container_id: ContainerID;
  /** Required. Which image. */
  readonly image: Image;
  /** Chosen by the caller, at most 128 bytes: a repeated call with the same key and container returns the first one's result. */
  readonly idempotency_key?: string;
  /** `overlay` (writable) or `bind` (read-only); empty: as configured. */
  readonly backend?: string;
}

/** What was made. (`mesos.cvmfs.v1.ProvisionResponse`) */
export interface ProvisionResponse {
  /** Absolute path on the host; a mount point. */
  readonly rootfs?: string;
  /** Writable directories to charge to the sandbox' quota: with `overlay`, upper and work. */
  readonly ephemeral_volumes: readonly string[];
  /** Runtime configuration of the image; `config` inside is always set. */
  readonly docker_manifest?: ImageManifest;
  /** What the image was resolved to. */
  readonly image?: ResolvedImage;
}

/** What to keep. (`mesos.cvmfs.v1.PruneImagesRequest`) */
export interface PruneImagesRequest {
  /** Images to keep although no container uses them. */
  readonly excluded_images: readonly Image[];
}

/** What was freed. (`mesos.cvmfs.v1.PruneImagesResponse`) */
export interface PruneImagesResponse {
  /** Bytes of local disk. */
  readonly freed_bytes?: string;
  /** Images that nothing holds any more. */
  readonly pruned_images?: string;
}

/** Nothing to say. (`mesos.cvmfs.v1.PsRequest`) */
export type PsRequest = Readonly<Record<never, never>>;

/** What the service holds. (`mesos.cvmfs.v1.PsResponse`) */
export interface PsResponse {
  /** Containers that have root file systems. */
  readonly containers: readonly Container[];
  /** Records that recovery set aside. */
  readonly quarantined: readonly Quarantined[];
  /** Images that the cache keeps. */
  readonly pinned: readonly PinnedImage[];
}

/** A record that recovery could not make sense of: set aside, neither used nor deleted. (`mesos.cvmfs.v1.Quarantined`) */
export interface Quarantined {
  /** Whose record it is. */
  readonly container_id?: ContainerID;
  /** What is wrong with it and what to do. */
  readonly reason?: string;
}

/** Which containers live. (`mesos.cvmfs.v1.RecoverRequest`) */
export interface RecoverRequest {
  /** All of them, nested ones too. */
  readonly known_container_ids: readonly ContainerID[];
}

/** What recovery did. (`mesos.cvmfs.v1.RecoverResponse`) */
export interface RecoverResponse {
  /** Containers that were unknown to the agent and are gone now. */
  readonly destroyed: readonly ContainerID[];
  /** Records that were set aside. */
  readonly quarantined: readonly Quarantined[];
}

/** Where a repository stands. (`mesos.cvmfs.v1.RepositoryState`) */
export type RepositoryState = 'REPOSITORY_STATE_UNSPECIFIED' | 'REPOSITORY_STATE_MOUNTING' | 'REPOSITORY_STATE_MOUNTED' | 'REPOSITORY_STATE_FAILED';

/** A configured repository. (`mesos.cvmfs.v1.RepositoryStatus`) */
export interface RepositoryStatus {
  /** Fully qualified name. */
  readonly repository?: string;
  /** Where it is, or will be, mounted. */
  readonly mountpoint?: string;
  /** Where it stands. */
  readonly state?: RepositoryState;
  /** With FAILED: what happened and what to do. */
  readonly failure?: string;
  /** Newest accepted revision; 0 before there is one. */
  readonly revision?: string;
  /** Its root catalog, hex. */
  readonly root_hash?: string;
}

/** What a container had fetched from one repository. (`mesos.cvmfs.v1.RepositoryUse`) */
export interface RepositoryUse {
  /** Fully qualified repository name. */
  readonly repository?: string;
  /** Path in the container; empty when its image lies in the repository. */
  readonly path?: string;
  /** Bytes that came over the network for the repository since the container was prepared, or the service started. */
  readonly fetched_bytes?: string;
  /** Containers that use the repository now; when more than one, `fetched_bytes` is the sum for all of them. */
  readonly sharing?: number;
}

/** What to find. (`mesos.cvmfs.v1.ResolveRequest`) */
export interface ResolveRequest {
  /** Required. Which image. */
  readonly image: Image;
}

/** What was found. (`mesos.cvmfs.v1.ResolveResponse`) */
export interface ResolveResponse {
  /** The directory. */
  readonly image?: ResolvedImage;
  /** Runtime configuration; `config` inside is always set. */
  readonly docker_manifest?: ImageManifest;
  /** Where the configuration came from, such as `oci:/srv/registry`; `none` when no source had it. */
  readonly config_source?: string;
  /** Sources that had something unusable, a sentence each. */
  readonly warnings: readonly string[];
}

/** What a reference was resolved to: stays true for ever. (`mesos.cvmfs.v1.ResolvedImage`) */
export interface ResolvedImage {
  /** Canonical text of the reference. */
  readonly reference?: string;
  /** Fully qualified repository name. */
  readonly repository?: string;
  /** Directory in the repository, absolute, without any symbolic link; bytes that are not UTF-8, blanks, controls and `%` percent-encoded. */
  readonly path?: string;
  /** Root catalog of the revision that it was found in, hex. */
  readonly root_hash?: string;
  /** That revision's number. */
  readonly revision?: string;
  /** `sha256:…`, a function of the tree's catalog, the path in it and the configuration: equal as long as the image is. */
  readonly digest?: string;
}

/** A root file system. (`mesos.cvmfs.v1.Rootfs`) */
export interface Rootfs {
  /** UUID, the last component of `path`. */
  readonly id?: string;
  /** Absolute path on the host. */
  readonly path?: string;
  /** `overlay` or `bind`. */
  readonly backend?: string;
  /** Where it stands. */
  readonly state?: RootfsState;
  /** What it shows; absent while it is being resolved. */
  readonly image?: ResolvedImage;
  /** When it was asked for, milliseconds since 1970. */
  readonly created_ms?: string;
}

/** Where a root file system stands. (`mesos.cvmfs.v1.RootfsState`) */
export type RootfsState = 'ROOTFS_STATE_UNSPECIFIED' | 'ROOTFS_STATE_PROVISIONING' | 'ROOTFS_STATE_PROVISIONED' | 'ROOTFS_STATE_DESTROYING';

/** Nothing to say. (`mesos.cvmfs.v1.StatusRequest`) */
export type StatusRequest = Readonly<Record<never, never>>;

/** How the service is. (`mesos.cvmfs.v1.StatusResponse`) */
export interface StatusResponse {
  /** Of the package. */
  readonly version?: string;
  /** Of the service. */
  readonly pid?: number;
  /** When it started, milliseconds since 1970. */
  readonly started_ms?: string;
  /** Address that answers /metrics, /healthz and /readyz, `host:port`; empty: none. */
  readonly http?: string;
  /** Whether Provision would be answered: state is recovered and every repository is mounted. */
  readonly ready?: boolean;
  /** Every configured repository. */
  readonly repositories: readonly RepositoryStatus[];
  /** Containers that have root file systems. */
  readonly containers?: number;
  /** Root file systems of all containers. */
  readonly rootfses?: number;
  /** What is not as it should be, a sentence each. */
  readonly warnings: readonly string[];
  /** Address of the registry facade, `host:port`; empty: none. */
  readonly facade?: string;
}

/** What to let go. (`mesos.cvmfs.v1.UnpinRequest`) */
export interface UnpinRequest {
  /** Required. Digest of a pinned image, as Ps shows it. */
  readonly digest: string;
}

/** Whether there was something to let go. (`mesos.cvmfs.v1.UnpinResponse`) */
export interface UnpinResponse {
  /** False: it was not pinned. */
  readonly unpinned?: boolean;
}

/** What a container is for. (`mesos.slave.ContainerClass`) */
export type ContainerClass = 'DEFAULT' | 'DEBUG';

/** What a container is to be, as an isolator's `prepare` gets it and as the agent checkpoints it. (`mesos.slave.ContainerConfig`) */
export interface ContainerConfig {
  /** Absent for nested and standalone containers, unless known from the root container. */
  readonly executor_info?: ExecutorInfo;
  /** Command tasks only: the tasks of a pod bring none. */
  readonly task_info?: TaskInfo;
  /** What will be executed. */
  readonly command_info: CommandInfo;
  /** Image and volumes. */
  readonly container_info?: ContainerInfo;
  /** DEFAULT when absent. */
  readonly container_class?: ContainerClass;
  /** The sandbox, a path on the host. */
  readonly directory: string;
  /** Writable paths beside the sandbox that count against its quota. */
  readonly ephemeral_volumes: readonly string[];
  /** Account on the host, resolved. */
  readonly user?: string;
  /** The root file system, a path on the host: of the task with command tasks, else of the container. */
  readonly rootfs?: string;
  /** With a docker image. */
  readonly docker?: ContainerConfigDocker;
}

/** The docker part of the image. (`mesos.slave.ContainerConfig.Docker`) */
export interface ContainerConfigDocker {
  /** Runtime configuration; `config` inside is always set. */
  readonly manifest?: ImageManifest;
}

/** What an isolator adds to a launch. Repeated members of several isolators are appended in their order. (`mesos.slave.ContainerLaunchInfo`) */
export interface ContainerLaunchInfo {
  /** For the container's own process. */
  readonly environment?: Environment;
  /** Done in order inside the container's mount namespace, before pivot_root. */
  readonly mounts: readonly ContainerMountInfo[];
  /** For the task of a command executor. */
  readonly task_environment?: Environment;
}

/** Why a container must not go on: the agent destroys it and tells the framework. (`mesos.slave.ContainerLimitation`) */
export interface ContainerLimitation {
  /** In words. */
  readonly message?: string;
  /** What the framework is told as the reason. */
  readonly reason?: TaskStatusReason;
}

/** One mount(2). (`mesos.slave.ContainerMountInfo`) */
export interface ContainerMountInfo {
  /** Where, seen from the host; made when it is missing and there is a source. */
  readonly target: string;
  /** What. */
  readonly source?: string;
  /** File system type. */
  readonly type?: string;
  /** MS_ flags. */
  readonly flags?: number;
  /** Data of the call. */
  readonly options?: string;
}

/** A container that an agent found again after its restart. (`mesos.slave.ContainerState`) */
export interface ContainerState {
  /** Root containers. */
  readonly executor_info?: ExecutorInfo;
  /** Nested and standalone containers; the image of a root container is in `executor_info`. */
  readonly container_info?: ContainerInfo;
  /** Which. */
  readonly container_id: ContainerID;
  /** Its first process, on the host. */
  readonly pid: string;
  /** The sandbox, a path on the host. */
  readonly directory: string;
  /** As in ContainerConfig. */
  readonly ephemeral_volumes: readonly string[];
}

/** Root file systems for containers. All calls may be repeated; the caller's deadline is honoured. (`mesos.cvmfs.v1.Provisioner`) */
export interface ProvisionerMethods {
  /** Tells the service which containers live, once per start of the agent: theirs are kept, all others are destroyed. */
  readonly Recover: { readonly request: RecoverRequest; readonly response: RecoverResponse };
  /** Makes a new root file system from an image. Each call makes another one, unless the idempotency key is known. */
  readonly Provision: { readonly request: ProvisionRequest; readonly response: ProvisionResponse };
  /** Removes all root file systems of a container and of those nested in it. */
  readonly Destroy: { readonly request: DestroyRequest; readonly response: DestroyResponse };
  /** Frees what no container uses; runs alone. */
  readonly PruneImages: { readonly request: PruneImagesRequest; readonly response: PruneImagesResponse };
}

/** For operators; on the same socket as Provisioner. (`mesos.cvmfs.v1.Admin`) */
export interface AdminMethods {
  /** The service itself, its repositories and what is not as it should be. */
  readonly Status: { readonly request: StatusRequest; readonly response: StatusResponse };
  /** Containers with their root file systems, records set aside, pinned images. */
  readonly Ps: { readonly request: PsRequest; readonly response: PsResponse };
  /** Finds an image and its runtime configuration; mounts nothing and remembers nothing. */
  readonly Resolve: { readonly request: ResolveRequest; readonly response: ResolveResponse };
  /** Fetches all of an image into the cache. */
  readonly Prefetch: { readonly request: PrefetchRequest; readonly response: PrefetchResponse };
  /** Fetches all of an image and keeps it in the cache until it is unpinned. */
  readonly Pin: { readonly request: PinRequest; readonly response: PinResponse };
  /** Lets the cache drop the image again. */
  readonly Unpin: { readonly request: UnpinRequest; readonly response: UnpinResponse };
}

/** The isolator of an agent. All calls may be repeated; what must survive is on disk before a call is answered. (`mesos.cvmfs.v1.Isolator`) */
export interface IsolatorMethods {
  /** Tells which containers live. What is not named, and was not prepared after this call was made, is forgotten. */
  readonly Recover: { readonly request: IsolatorRecoverRequest; readonly response: IsolatorRecoverResponse };
  /** A container is about to be launched; its image, if it has one, is provisioned. A failure ends the launch with its text. */
  readonly Prepare: { readonly request: IsolatorPrepareRequest; readonly response: IsolatorPrepareResponse };
  /** Its first process exists. */
  readonly Isolate: { readonly request: IsolatorIsolateRequest; readonly response: IsolatorIsolateResponse };
  /** Waits until some container cannot go on, or for some 20 s; then it is called again. */
  readonly Watch: { readonly request: IsolatorWatchRequest; readonly response: IsolatorWatchResponse };
  /** Its resources have changed. */
  readonly Update: { readonly request: IsolatorUpdateRequest; readonly response: IsolatorUpdateResponse };
  /** What it has used. */
  readonly Usage: { readonly request: IsolatorUsageRequest; readonly response: IsolatorUsageResponse };
  /** What is known of it. */
  readonly Status: { readonly request: IsolatorStatusRequest; readonly response: IsolatorStatusResponse };
  /** It has ended, with all its processes; also of one that was never prepared, or is forgotten already. */
  readonly Cleanup: { readonly request: IsolatorCleanupRequest; readonly response: IsolatorCleanupResponse };
}
