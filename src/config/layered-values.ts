/**
 * The values of one repository by layer, strongest first: -o, configuration file, files of /etc/cvmfs (flags and defaults
 * are with the caller). Each value that is taken leaves a line with its origin for `config dump`.
 */
import { Failure } from '../error';
import { harmlessValue, type RepositorySettings } from './config';
import type { ConfigFiles } from './host-files';
import { originText, type ConfigEntry, type Origin } from './origin';
import type { Parameter } from './parameter-file';
import { OPTION, parameterOrigin } from './parameters';
import { REPOSITORY } from './schema';

export type Field = keyof typeof REPOSITORY;

/** 3: -o, 2: configuration file, 1: parameter file; strongest first. A flag is 4, a default 0. */
export const LAYERS = [3, 2, 1] as const;
export type Layer = (typeof LAYERS)[number];
export interface Found<T> {
  readonly value: T;
  readonly origin: Origin;
  readonly layer: Layer | 0 | 4;
}

export class LayeredValues {
  readonly entries: ConfigEntry[] = [];
  readonly prefix: string;

  constructor(
    readonly fqrn: string,
    private readonly settings: RepositorySettings | undefined,
    readonly parameters: ReadonlyMap<string, Parameter>,
    readonly files: ConfigFiles,
  ) {
    this.prefix = `repositories."${fqrn}"`;
  }

  /** `find` and a line for `config dump`. */
  pick<T>(field: Field, parameter: string | undefined, parse: (value: string) => T | undefined, fallback: T): Found<T> {
    const found = this.find(field, parameter, parse, fallback);
    this.note(field, found);
    return found;
  }

  find<T>(field: Field, parameter: string | undefined, parse: (value: string) => T | undefined, fallback: T): Found<T> {
    for (const layer of LAYERS) {
      const found = this.at(layer, field, parameter, parse);
      if (found !== undefined) return found;
    }
    return { value: fallback, origin: { kind: 'default' }, layer: 0 };
  }

  /** What one layer says, undefined for nothing; an empty parameter says nothing. */
  at<T>(layer: Layer, field: Field, name: string | undefined, parse: (value: string) => T | undefined): Found<T> | undefined {
    if (layer === 2) {
      const value = this.settings?.values[field];
      return value === undefined ? undefined : { value: value as T, origin: this.settings!.originOf(field), layer };
    }
    const parameter = name === undefined ? undefined : this.parameters.get(name);
    if (parameter === undefined || parameter.value === '' || (parameter.file === OPTION) !== (layer === 3)) return undefined;
    return { value: this.parsed(name!, parameter, parse), origin: parameterOrigin(name!, parameter), layer };
  }

  parsed<T>(name: string, parameter: Parameter, parse: (value: string) => T | undefined): T {
    const where = originText(parameterOrigin(name, parameter));
    const code = parameter.file === OPTION ? 'INVALID_ARGUMENT' : 'CONFIG_INVALID';
    let value: T | undefined;
    try {
      value = parse(parameter.value);
    } catch (error) {
      const { what, next } = Failure.from(error);
      throw new Failure(code, `${where}: ${what}`, next === undefined ? {} : { next });
    }
    if (value === undefined) throw new Failure(code, `${where}: the value "${String(harmlessValue(parameter.value)).slice(0, 200)}" is not one that ${name} can have`, { next: 'see docs/parameters.md' });
    return value;
  }

  read(file: string, origin: Origin, code: 'KEY_INVALID' | 'CONFIG_INVALID', what: string): string {
    let text: string | undefined;
    try {
      text = this.files.read(file);
    } catch (error) {
      const failure = Failure.from(error);
      throw new Failure(code, `${originText(origin)}: ${failure.what}`, { cause: error, ...(failure.next === undefined ? {} : { next: failure.next }) });
    }
    if (text === undefined) throw new Failure(code, `${originText(origin)}: the ${what} ${file} does not exist`, { next: 'correct the path, or put the file there' });
    return text;
  }

  note(field: Field, { value, origin }: Found<unknown>): void {
    const { key, type } = REPOSITORY[field];
    const shown = value === null || value === undefined ? null : ((type.show as ((value: unknown) => unknown) | undefined)?.(value) ?? value);
    const harmless = harmlessValue(shown);
    this.entries.push({ key: `${this.prefix}.${key}`, value: harmless, origin, redacted: JSON.stringify(harmless) !== JSON.stringify(shown) });
  }
}
