/** `mesos-cvmfs config dump`: who set this? */
import { Failure } from '../../error';
import type { ConfigEntry, ConfigWarning } from '../../config/origin';
import { originText } from '../../config/origin';
import { configuration, repository } from '../context';
import { print, table } from '../output';
import type { CommonOptions } from '../common-options';

export async function configDump(_args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const options = given as CommonOptions;
  const config = configuration(options);
  let entries = config.entries();
  const warnings: ConfigWarning[] = [];
  const failures: Failure[] = [];
  for (const [fqrn, { values }] of config.repositories) {
    if (values.mount === 'external') continue;
    try {
      const built = repository(config, fqrn);
      // What the file says of it is among what is in force.
      const prefix = `repositories."${fqrn}".`;
      const own = new Set(built.entries.map(({ key }) => key));
      entries = [...entries.filter(({ key }) => !own.has(key)), ...built.entries];
      entries.sort((a, b) => Number(a.key.startsWith(prefix)) - Number(b.key.startsWith(prefix)));
      warnings.push(...built.warnings);
    } catch (error) {
      // The others are shown all the same.
      failures.push(Failure.from(error));
    }
  }
  const shown = entries.map(({ key, value, origin, redacted }: ConfigEntry) => ({ key, value, origin: originText(origin), redacted }));
  const text = [
    table(shown.map(({ key, value, origin }) => [key, JSON.stringify(value), origin])),
    ...warnings.map((warning) => `warning: ${warning.text}\n`),
  ];
  const errors = failures.map((failure) => failure.message);
  print(options.json === true, { file: config.file ?? null, entries: shown, warnings, errors }, text.join(''));
  if (failures[0] !== undefined) throw failures[0];
}
