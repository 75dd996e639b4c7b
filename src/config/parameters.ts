/**
 * The CVMFS_* parameters of one repository, from the layers of /etc/cvmfs in the order of spec 5.1, later ones winning:
 *
 *   default.conf · default.d/*.conf · default.local · domain.d/<domain>.conf, .local · config.d/<fqrn>.conf, .local · -o
 *
 * A configuration repository, the layers that the stock client reads from inside /cvmfs, is not used: configuration that
 * arrives over the network could name other keys. That is a warning, and a failure (parameter-table.ts) where it is required.
 */
import { Failure } from '../error';
import type { ConfigFiles } from './host-files';
import type { ConfigWarning, Origin } from './origin';
import { readParameterFile, type Parameter } from './parameter-file';
import { parameterRow } from './parameter-table';
import { isFqrn } from './repository-config';

export const DEFAULT_PARAMETER_DIR = '/etc/cvmfs';
/** `file` of a parameter given on the command line. */
export const OPTION = '-o';

export interface Parameters {
  readonly values: ReadonlyMap<string, Parameter>;
  /** Files that were read, in order. */
  readonly files: readonly string[];
  readonly warnings: readonly ConfigWarning[];
}

export interface ParameterSources {
  readonly fqrn: string;
  readonly files: ConfigFiles;
  /** Folder of the layers (default /etc/cvmfs). */
  readonly baseDir?: string;
  /** Of the command line, `CVMFS_X=Y`. */
  readonly options?: readonly string[];
}

/** Reads and merges; `@fqrn@` and `@org@` are replaced. Throws CONFIG_INVALID with file and line, INVALID_ARGUMENT for an option. */
export function readParameters({ fqrn, files, baseDir = DEFAULT_PARAMETER_DIR, options = [] }: ParameterSources): Parameters {
  if (!isFqrn(fqrn)) throw new Failure('INVALID_ARGUMENT', `"${fqrn.slice(0, 80)}" is not the name of a repository`, { next: 'a name looks like images.example.org' });
  const values = new Map<string, Parameter>();
  const read: string[] = [];
  const layer = (file: string): void => {
    const text = files.read(file);
    if (text === undefined) return;
    read.push(file);
    readParameterFile(text, file, values, (name) => parameterRow(name)?.disposition !== 'ignored');
  };

  layer(`${baseDir}/default.conf`);
  for (const name of files.list(`${baseDir}/default.d`)) if (name.endsWith('.conf')) layer(`${baseDir}/default.d/${name}`);
  layer(`${baseDir}/default.local`);
  const dot = fqrn.indexOf('.');
  if (dot > 0) {
    layer(`${baseDir}/domain.d/${fqrn.slice(dot + 1)}.conf`);
    layer(`${baseDir}/domain.d/${fqrn.slice(dot + 1)}.local`);
  }
  layer(`${baseDir}/config.d/${fqrn}.conf`);
  layer(`${baseDir}/config.d/${fqrn}.local`);
  for (const option of options) {
    const match = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]*)$/.exec(option);
    if (match === null) throw new Failure('INVALID_ARGUMENT', `-o "${option.slice(0, 80)}" is not NAME=VALUE`, { next: 'for example -o CVMFS_MAX_TTL=15' });
    values.set(match[1]!, { value: match[2]!, file: OPTION, line: 0 });
  }

  for (const [name, parameter] of values) values.set(name, { ...parameter, value: substitute(parameter.value, fqrn) });
  return { values, files: read, warnings: configRepositoryWarnings(fqrn, values) };
}

/** Replaces `@fqrn@` by the repository's name and `@org@` by its first label; another `@x@` stays (spec 5.1). */
export function substitute(text: string, fqrn: string): string {
  return text.replaceAll('@fqrn@', fqrn).replaceAll('@org@', fqrn.split('.')[0]!);
}

export function parameterOrigin(name: string, parameter: Parameter): Origin {
  return parameter.file === OPTION ? { kind: 'flag', flag: `-o ${name}` } : { kind: 'parameter', name, file: parameter.file, line: parameter.line };
}

function configRepositoryWarnings(fqrn: string, values: ReadonlyMap<string, Parameter>): ConfigWarning[] {
  const config = values.get('CVMFS_CONFIG_REPOSITORY');
  if (config === undefined || config.value === '' || config.value === fqrn) return [];
  const next = `copy what ${fqrn} needs from /cvmfs/${config.value}/etc/cvmfs to files below /etc/cvmfs`;
  return [
    { code: 'CONFIG_REPOSITORY_NOT_READ', title: 'configuration repository not read', severity: 'warning', subject: fqrn, text: `${config.file}:${config.line}: the configuration repository ${config.value} is not read; ${next}` },
  ];
}
