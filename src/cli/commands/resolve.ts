/** `mesos-cvmfs resolve`. */
import { configuration } from '../context';
import { imageRows } from '../messages';
import { print, table } from '../output';
import type { CommonOptions } from '../common-options';
import { resolveImage } from '../resolve-image';

export async function resolve(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const found = await resolveImage(configuration(options), args[0] as string);
  print(options.json === true, found, table([...imageRows(found.image), ['configuration', found.config_source], ...found.warnings.map((text) => ['warning', text])]));
}
