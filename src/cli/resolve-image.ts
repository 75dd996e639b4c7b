/** What an image is now: asked of the service when one runs, else found in what the keeper has mounted. */
import type { Config } from '../config/config';
import type { ImageJson } from './messages';
import { imageArgument, imageJson } from './messages';
import { MountedRepositories } from './mounted-repositories';
import { findService } from './service-client';

export interface ResolvedJson {
  readonly image: ImageJson;
  /** Runtime configuration, as containers get it. */
  readonly docker_manifest: object;
  readonly config_source: string;
  readonly warnings: readonly string[];
}

export async function resolveImage(config: Config, text: string): Promise<ResolvedJson> {
  const image = imageArgument(text);
  const service = await findService(config);
  if (service === null) return resolveMounted(config, text);
  try {
    const { image: found, docker_manifest = {}, config_source = 'none', warnings } = await service.admin.Resolve({ image }, { timeoutMs: config.provisioner.requestDeadlineMs });
    return { image: imageJson(found), docker_manifest, config_source, warnings };
  } finally {
    service.close();
  }
}

async function resolveMounted(config: Config, text: string): Promise<ResolvedJson> {
  const [{ resolveImage: resolve }, { parseReference }, { createConfigSource }, { createConfigCache }, { pathToText }, facade] = await Promise.all([
    import('../image/resolve'),
    import('../image/reference'),
    import('../image/create-config-source'),
    import('../image/config-cache'),
    import('../image/path-text'),
    import('../image/facade-name'),
  ]);
  const name = facade.parseFacadeName(text, facade.facadeHosts(config.facade.listen));
  const candidates = name === undefined ? [{ image: text }] : facade.candidatesOf(name, [...config.repositories.keys()]);
  const repositories = await MountedRepositories.find(config);
  try {
    const sources = config.provisioner.imageConfigSources.map((source) => createConfigSource(source));
    const signal = AbortSignal.timeout(config.provisioner.requestDeadlineMs);
    const options = { sources, cache: createConfigCache(), signal };
    const { reference, repository, path, snapshot, digest, manifest, configSource, warnings } = await facade.firstCandidate(candidates, async ({ image: one, onlyIn }) => {
      const { configured, imageRepositories } = repositories;
      return resolve(parseReference(one), { configured, imageRepositories: onlyIn === undefined ? imageRepositories : [onlyIn], open: (fqrn) => repositories.open(fqrn) }, options);
    });
    const image = { reference, repository, path: pathToText(path), root_hash: snapshot.rootHash, revision: snapshot.revision, digest };
    return { image, docker_manifest: manifest, config_source: configSource, warnings };
  } finally {
    repositories.close();
  }
}
