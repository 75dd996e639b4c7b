/**
 * Removes a directory that a container has written to. Whatever still runs in there may swap a directory for a link at
 * any moment, and root must not follow it out; and it may have nested directories deeper than a path can be long. So:
 *
 * - every name is used relative to an open descriptor (`/proc/self/fd/N/name`), opened without following a link;
 * - there is no recursion: a directory's subdirectories are moved up beside it, under a name of ours, until all are flat;
 * - nothing on another mount is entered, also where it shows the same device (a bind mount of a host directory): a mount in
 *   the way stops the removal (EBUSY) and loses nothing.
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { O_DIRECTORY, O_NOFOLLOW } from '../src/native/libc';
import { Failure } from '../src/error';

const slash = Buffer.from('/');

function errnoOf(err: unknown): string | undefined {
  return (err as NodeJS.ErrnoException).code;
}

function isOneOf(err: unknown, ...codes: string[]): boolean {
  return codes.includes(errnoOf(err) ?? '');
}

/** On which mount an open directory lies (proc(5)); a device number does not tell a bind mount from what is around it. */
async function mountOf(handle: fs.promises.FileHandle): Promise<string> {
  const text = await fs.promises.readFile(`/proc/self/fdinfo/${handle.fd}`, 'latin1');
  const id = /^mnt_id:\s*(\d+)$/m.exec(text)?.[1];
  if (id === undefined) throw new Failure('SYSTEM', 'the kernel does not say on which mount a directory lies');
  return id;
}

async function openDirectory(path: Buffer, mount: string | undefined): Promise<fs.promises.FileHandle> {
  const handle = await fs.promises.open(path as unknown as string, fs.constants.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    if (mount !== undefined && (await mountOf(handle)) !== mount) throw new Failure('SYSTEM', `${path.toString()} is a mount point`, { data: { errno: 'EBUSY' } });
    return handle;
  } catch (err) {
    await handle.close();
    throw err;
  }
}

/** Empties the directory `from`; subdirectories end up in `top`, which may be the same. Returns whether there were any. */
async function flatten(from: fs.promises.FileHandle, top: fs.promises.FileHandle, newName: () => Buffer): Promise<boolean> {
  const base = Buffer.from(`/proc/self/fd/${from.fd}`);
  let directories = false;
  const dir = await fs.promises.opendir(base as unknown as string, { encoding: 'buffer' as BufferEncoding, bufferSize: 256 });
  for await (const entry of dir) {
    const child = Buffer.concat([base, slash, entry.name as unknown as Buffer]);
    if (!entry.isDirectory()) {
      await fs.promises.unlink(child).catch((err: unknown) => {
        if (!isOneOf(err, 'ENOENT', 'EISDIR')) throw err;
      });
      continue;
    }
    directories = true;
    if (from !== top) await fs.promises.rename(child, Buffer.concat([Buffer.from(`/proc/self/fd/${top.fd}/`), newName()]));
  }
  return directories;
}

/** Takes the directories that lie flat in `top` away, one after the other; each may bring its own subdirectories up. */
async function removeFlat(top: fs.promises.FileHandle, mount: string, newName: () => Buffer): Promise<void> {
  const base = Buffer.from(`/proc/self/fd/${top.fd}`);
  for (const name of await fs.promises.readdir(base as unknown as string, { encoding: 'buffer' })) {
    const path = Buffer.concat([base, slash, name]);
    try {
      const child = await openDirectory(path, mount);
      try {
        await flatten(child, top, newName);
      } finally {
        await child.close();
      }
      await fs.promises.rmdir(path);
    } catch (err) {
      // Gone, changed its kind, or filled again under our hands: the next round sees.
      if (!isOneOf(err, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENOTEMPTY')) throw err;
    }
  }
}

/** Rounds without progress against somebody who keeps writing. */
const MAX_ROUNDS = 100_000;

/** Removes `path` and all below it; a path that is not there is fine. SYSTEM with `data.errno` EBUSY when something is mounted below. */
export async function removeTree(path: string): Promise<void> {
  let top: fs.promises.FileHandle;
  try {
    // First, since on a mount point it fails (EBUSY) before anything is opened; and mostly nothing else is needed.
    await fs.promises.rmdir(path);
    return;
  } catch (err) {
    if (isOneOf(err, 'ENOENT')) return;
    if (!isOneOf(err, 'ENOTEMPTY')) throw Failure.from(err, `${path} cannot be removed`);
  }
  try {
    top = await openDirectory(Buffer.from(path), undefined);
  } catch (err) {
    if (isOneOf(err, 'ENOENT')) return;
    throw Failure.from(err, `${path} cannot be removed`);
  }
  const newName = (): Buffer => Buffer.from(randomUUID());
  try {
    const mount = await mountOf(top);
    for (let round = 0; round < MAX_ROUNDS && (await flatten(top, top, newName)); round++) await removeFlat(top, mount, newName);
    await fs.promises.rmdir(path);
  } catch (err) {
    if (!isOneOf(err, 'ENOENT')) throw Failure.from(err, `${path} cannot be removed`);
  } finally {
    await top.close();
  }
}
