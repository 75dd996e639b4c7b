/** A private folder for one publish or check, with names for files in it. Whoever makes it removes it. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

export class WorkDir {
  readonly path: string;
  private sequence = 0;

  constructor(parent: string = os.tmpdir()) {
    this.path = fs.mkdtempSync(path.join(parent, 'mesos-cvmfs.work-'));
  }

  file(kind: string): string {
    this.sequence += 1;
    return path.join(this.path, `${kind}-${this.sequence}`);
  }

  remove(): void {
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}
