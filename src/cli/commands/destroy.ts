/** `mesos-cvmfs destroy`. */
import { configuration } from '../context';
import { containerArgument } from '../messages';
import { print } from '../output';
import type { CommonOptions } from '../common-options';
import { withService } from '../service-client';

export async function destroy(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [container] = args as [string];
  const options = given as CommonOptions;
  const config = configuration(options);
  const request = { container_id: containerArgument(container) };
  const { destroyed = false } = await withService(config, ({ provisioner }) => provisioner.Destroy(request, { timeoutMs: config.provisioner.requestDeadlineMs }));
  print(options.json === true, { container, destroyed }, destroyed ? `${container} is destroyed` : `${container} has no root file systems`);
}
