/**
 * Places outside of the repository that hold configuration objects: `image_config_sources`.
 *
 *   oci:/path                          an OCI layout directory on this host
 *   docker://host[:port][/prefix]      a registry
 *
 * A source is asked for bytes by their sha256, and what it answers counts only when it has that sha256: it is trusted with
 * nothing but being there.
 */

export interface ConfigSource {
  /** As it is written in the configuration. */
  readonly name: string;
  /**
   * The object with that sha256 (64 hex digits); undefined when the source does not have it. `repository` is the image's
   * repository in its registry, when it is known. FAILED_PRECONDITION: what the source has is unusable. NETWORK or
   * DEADLINE_EXCEEDED: it may have it, and can not be asked now.
   */
  fetch(digest: string, repository: string | undefined, signal: AbortSignal | undefined): Promise<Buffer | undefined>;
}
