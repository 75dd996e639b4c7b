/** Where the fixture repositories of the real CernVM-FS tools lie, when they are there. */
import * as fs from 'node:fs';
import * as path from 'node:path';

const beside = path.resolve(__dirname, '../../../shared/fixtures');

/** Folder of the fixtures, or undefined: MESOS_CVMFS_FIXTURES, else a folder `shared/fixtures` beside the checkout. */
export function fixturesDir(): string | undefined {
  const dir = process.env['MESOS_CVMFS_FIXTURES'] ?? beside;
  return fs.existsSync(path.join(dir, 'golden.cvmfs.test', '.cvmfspublished')) ? dir : undefined;
}

/** `describe` when the fixtures are there, else a skipped block whose name says why. */
export function describeWithFixtures(name: string, body: (dir: string) => void): void {
  const dir = fixturesDir();
  if (dir === undefined) describe.skip(`${name} (fixtures of the real tools are absent: set MESOS_CVMFS_FIXTURES)`, () => it('needs them', () => undefined));
  else describe(name, () => body(dir));
}
