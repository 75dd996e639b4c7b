/** Another version of the built program: a copy of it with another VERSION, and with whatever else a test changes in it. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

const TOP = path.resolve(__dirname, '../..');

export class OtherVersion {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mesos-cvmfs-version-'));
  readonly version: string;

  constructor(version: string) {
    this.version = version;
    // Servers may run as another user.
    fs.chmodSync(this.dir, 0o755);
    for (const name of ['bin', 'dist', 'package.json', 'proto']) fs.cpSync(path.join(TOP, name), path.join(this.dir, name), { recursive: true });
    fs.symlinkSync(path.join(TOP, 'node_modules'), path.join(this.dir, 'node_modules'));
    this.call(version);
  }

  /** The same files, as of another version. */
  call(version: string): void {
    this.patch('version.js', /exports\.VERSION = '[^']*'/, `exports.VERSION = '${version}'`);
  }

  get bin(): string {
    return path.join(this.dir, 'bin/mesos-cvmfs');
  }

  /** Changes a file below `dist/src`; fails when there is nothing to change. */
  patch(name: string, what: string | RegExp, by: string): void {
    const file = path.join(this.dir, 'dist/src', name);
    const before = fs.readFileSync(file, 'utf8');
    const after = before.replace(what, () => by);
    if (after === before) throw new Error(`${file} has no ${String(what)}`);
    fs.writeFileSync(file, after);
  }

  end(): void {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
