/** `mesos-cvmfs provision`: prints the path of the new root file system, so that a script can take it as it is. */
import { configuration } from '../context';
import { containerArgument, imageArgument, imageJson } from '../messages';
import { print } from '../output';
import type { CommonOptions } from '../common-options';
import { withService } from '../service-client';

interface ProvisionOptions extends CommonOptions {
  readonly container: string;
  readonly backend?: string;
  readonly key?: string;
}

export async function provision(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as unknown as ProvisionOptions;
  const config = configuration(options);
  const request = {
    container_id: containerArgument(options.container),
    image: imageArgument(args[0] as string),
    ...(options.key === undefined ? {} : { idempotency_key: options.key }),
    ...(options.backend === undefined ? {} : { backend: options.backend }),
  };
  const made = await withService(config, ({ provisioner }) => provisioner.Provision(request, { timeoutMs: config.provisioner.requestDeadlineMs }));
  const { rootfs = '', ephemeral_volumes, docker_manifest = {} } = made;
  print(options.json === true, { container: options.container, rootfs, ephemeral_volumes, image: imageJson(made.image), docker_manifest }, rootfs);
}
