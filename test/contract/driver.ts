/**
 * The drivers that the contract is held against, and what each of them declares that it does not do. What is declared here
 * is what docs/configuration.md says; a test that needs it is left out for that driver, by name, and nothing else is.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describeWithMounts } from '../support/test-host';
import type { TestHost } from '../support/test-host';

export interface Driver {
  readonly name: 'kernel' | 'kernel, passthrough' | 'fuse-native';
  /** Table of the configuration file that chooses it. */
  readonly table: string;
  readonly supports: {
    /** Names and link targets of any bytes; else those that are not UTF-8 are hidden and warned about. */
    readonly bytesNames: boolean;
    /** Times to the nanosecond, and before 1970; else cut to milliseconds, and 1970. */
    readonly exactTimes: boolean;
    /** Attributes of the mount in the listing of its root. */
    readonly listedMagic: boolean;
    /** A new revision of a file shows although somebody holds the old one open. */
    readonly twoRevisionsAtOnce: boolean;
    /** Readers do not notice that a process of ours dies. */
    readonly survival: boolean;
  };
}

export const DRIVERS: readonly Driver[] = [
  { name: 'kernel', table: '[fuse]\ndriver = "kernel"\n', supports: { bytesNames: true, exactTimes: true, listedMagic: true, twoRevisionsAtOnce: true, survival: true } },
  {
    name: 'kernel, passthrough',
    table: '[fuse]\ndata_path = "passthrough"\n',
    supports: { bytesNames: true, exactTimes: true, listedMagic: true, twoRevisionsAtOnce: true, survival: true },
  },
  { name: 'fuse-native', table: '[fuse]\ndriver = "fuse-native"\n', supports: { bytesNames: false, exactTimes: false, listedMagic: true, twoRevisionsAtOnce: false, survival: false } },
];

/** Why a driver cannot be tried here; undefined when it can. In a process of its own, since a library is loaded. */
function lacking(driver: Driver): string | undefined {
  if (driver.name !== 'fuse-native') return undefined;
  try {
    execFileSync(process.execPath, ['-e', "require('fuse-native')"], { cwd: path.resolve(__dirname, '../..'), stdio: 'ignore', timeout: 20_000 });
    return undefined;
  } catch {
    return 'needs libfuse 2: make setup';
  }
}

/** The same block for each driver, and a skipped one that says what is lacking where one cannot run. */
export function describeDrivers(name: string, body: (driver: Driver) => void): void {
  for (const driver of DRIVERS) {
    const why = lacking(driver);
    if (why === undefined) describeWithMounts(`${name}, driver ${driver.name}`, () => body(driver));
    else describe.skip(`${name}, driver ${driver.name} (${why})`, () => it('needs it', () => undefined));
  }
}

/** A configuration file with nothing but the driver, and its argument for `mount`. */
export function driverConfig(host: TestHost, driver: Driver, top = ''): readonly string[] {
  const file = path.join(host.dir, 'driver.toml');
  fs.writeFileSync(file, `${top}${driver.table}`);
  return ['--config', file];
}
