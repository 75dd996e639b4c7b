/**
 * Start profiles in the state: `<state_dir>/profiles/<sha256 of the image's reference>.json`. A profile belongs to the name
 * that an image is asked for by, so that an updated image begins with its predecessor's. Files are written whole or not at
 * all; what cannot be read as one is set aside, once; of too many the least recently used go. Only root writes here.
 */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Failure } from '../src/error';
import { parseProfile, PROFILE_BYTES_MAX, profileText } from '../src/image/start-profile-text';
import type { StartProfile } from '../src/repository/start-profile';

const PROFILES_MAX = 1_000;
const NAME = /^[0-9a-f]{64}\.json$/;

export class ProfileFiles {
  readonly dir: string;

  constructor(
    stateDir: string,
    private readonly onSetAside: (file: string, why: Failure) => void = () => undefined,
    private readonly profilesMax = PROFILES_MAX,
  ) {
    this.dir = path.join(stateDir, 'profiles');
  }

  /** Undefined when there is none, or none that can be read. */
  async read(reference: string): Promise<StartProfile | undefined> {
    const file = this.#file(reference);
    try {
      const profile = parseProfile(await readSmall(file));
      if (profile.image !== reference) throw new Failure('FAILED_PRECONDITION', `it is the profile of ${profile.image}`);
      const now = new Date();
      await fs.promises.utimes(file, now, now).catch(() => undefined);
      return profile;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      await this.#setAside(file, Failure.from(error));
      return undefined;
    }
  }

  async write(reference: string, profile: StartProfile): Promise<void> {
    await fs.promises.mkdir(this.dir, { recursive: true, mode: 0o700 });
    const temporary = path.join(this.dir, `.${randomBytes(8).toString('hex')}.tmp`);
    try {
      const handle = await fs.promises.open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(profileText(reference, profile));
        await handle.datasync();
      } finally {
        await handle.close();
      }
      await fs.promises.rename(temporary, this.#file(reference));
    } catch (error) {
      await fs.promises.rm(temporary, { force: true });
      throw error;
    }
    await this.#trim();
  }

  /** False when there was none. */
  async remove(reference: string): Promise<boolean> {
    try {
      await fs.promises.unlink(this.#file(reference));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }

  count(): number {
    try {
      return fs.readdirSync(this.dir).filter((name) => NAME.test(name)).length;
    } catch {
      return 0;
    }
  }

  #file(reference: string): string {
    return path.join(this.dir, `${createHash('sha256').update(reference).digest('hex')}.json`);
  }

  async #setAside(file: string, why: Failure): Promise<void> {
    this.onSetAside(file, why);
    await fs.promises.rename(file, `${file}.bad`).catch(() => undefined);
  }

  /** The oldest beyond the limit, and what a crash left of a write or was set aside long ago. */
  async #trim(): Promise<void> {
    const names = await fs.promises.readdir(this.dir);
    if (names.length <= this.profilesMax) return;
    const aged = await Promise.all(names.map(async (name) => ({ name, ms: (await fs.promises.lstat(path.join(this.dir, name)).catch(() => undefined))?.mtimeMs ?? 0 })));
    aged.sort((a, b) => a.ms - b.ms);
    for (const { name } of aged.slice(0, names.length - this.profilesMax)) await fs.promises.rm(path.join(this.dir, name), { force: true });
  }
}

/** A regular file of no more than a profile may have; no link is followed. */
async function readSmall(file: string): Promise<Buffer> {
  const handle = await fs.promises.open(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Failure('FAILED_PRECONDITION', 'it is no regular file');
    if (stat.size > PROFILE_BYTES_MAX) throw new Failure('FAILED_PRECONDITION', `it has ${stat.size} bytes, and ${PROFILE_BYTES_MAX} are allowed`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}
