/**
 * The variables of variant symlinks (spec 4.4) on their way from an environment into a mount's configuration and out
 * again. A file of its own, since reader workers need this and not the parser of the configuration.
 */
import type { RepositoryConfig } from './repository-config';

/** The variables of variant symlinks as bytes, the way a file system looks them up. */
export function variantVariables(config: RepositoryConfig): ReadonlyMap<string, Buffer> {
  return new Map(Object.entries(config.variables).map(([name, value]) => [name, Buffer.from(value, 'base64')]));
}

/** A `variables` field from names and bytes. */
export function encodeVariables(variables: ReadonlyMap<string, Buffer>): RepositoryConfig['variables'] {
  return Object.fromEntries([...variables].map(([name, value]) => [name, value.toString('base64')]));
}
