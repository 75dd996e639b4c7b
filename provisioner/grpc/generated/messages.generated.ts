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

/** A container of an agent. `value` is a directory name on the host; nesting is told by `parent` alone. (`mesos.ContainerID`) */
export interface ContainerID {
  /** 1 to 242 bytes, no slash; agents generate UUIDs. */
  readonly value: string;
  /** The container that this one is nested in; absent for a root container. */
  readonly parent?: ContainerID;
}

/** Principal and secret of the old authentication. (`mesos.Credential`) */
export interface Credential {
  /** Who. */
  readonly principal: string;
  /** The password; never logged. */
  readonly secret?: string;
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
