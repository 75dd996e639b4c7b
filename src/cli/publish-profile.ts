/** Puts a start profile beside an image (src/image/ducc-layout.ts), in a revision of its own. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PROFILE_FILE, profileFolder } from '../image/ducc-layout';
import { profileText } from '../image/start-profile-text';
import type { StartProfile } from '../repository/start-profile';
import { publish } from '../publish/publish';
import type { Published } from '../publish/publish';

export interface PublishProfileOptions {
  readonly fqrn: string;
  readonly storage: string;
  readonly keys: string;
  /** The image's directory, absolute. */
  readonly image: Buffer;
}

export async function publishProfile(profile: StartProfile & { readonly image: string }, { image, ...where }: PublishProfileOptions): Promise<Published> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'start-profile-'));
  try {
    fs.chmodSync(folder, 0o755);
    fs.writeFileSync(path.join(folder, PROFILE_FILE), profileText(profile.image, profile), { mode: 0o644 });
    return await publish({ ...where, source: `dir:${folder}`, to: profileFolder(image), xattrs: false });
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
