/** `mesos-cvmfs recover`: what an agent says when it has started. */
import { Failure } from '../../error';
import { configuration } from '../context';
import { containerArgument, containerText, quarantinedJson } from '../messages';
import { print } from '../output';
import type { CommonOptions } from '../common-options';
import { withService } from '../service-client';

interface RecoverOptions extends CommonOptions {
  readonly none?: boolean;
}

export async function recover(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const [ids] = args as [string[]];
  const options = given as RecoverOptions;
  // Forgetting the ids must not destroy every container of the host.
  if ((ids.length === 0) !== (options.none === true)) {
    throw new Failure('INVALID_ARGUMENT', ids.length === 0 ? 'recover: no container is named' : 'recover: --none, and containers are named', { next: 'name the containers that live, or give --none to destroy all of them' });
  }
  const config = configuration(options);
  const request = { known_container_ids: ids.map(containerArgument) };
  const answer = await withService(config, ({ provisioner }) => provisioner.Recover(request, { timeoutMs: config.provisioner.requestDeadlineMs }));
  const destroyed = answer.destroyed.map(containerText);
  const quarantined = answer.quarantined.map(quarantinedJson);
  const lines = [...destroyed.map((container) => `${container} is destroyed\n`), ...quarantined.map(({ container, reason }) => `${container} is set aside: ${reason}\n`)];
  print(options.json === true, { destroyed, quarantined }, lines.length === 0 ? 'nothing to destroy' : lines.join(''));
}
