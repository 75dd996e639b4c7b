/** `mesos-cvmfs image profile show`, `export`, `import` and `remove`: start profiles in this host's state, as files. */
import * as fs from 'node:fs';
import { Failure } from '../../error';
import { pathToText } from '../../image/path-text';
import { formatReference, parseReference } from '../../image/reference';
import { parseProfile, PROFILE_BYTES_MAX, profileText } from '../../image/start-profile-text';
import type { StartProfile } from '../../repository/start-profile';
import { ProfileFiles } from '../../../provisioner/profile-files';
import { configuration } from '../context';
import { print, table } from '../output';
import type { CommonOptions } from '../common-options';

interface Chosen {
  readonly files: ProfileFiles;
  readonly reference: string;
  readonly json: boolean;
}

function chosen(args: readonly unknown[], given: Record<string, unknown>): Chosen {
  const options = given as CommonOptions;
  return { files: new ProfileFiles(configuration(options).stateDir), reference: formatReference(parseReference(args[0] as string)), json: options.json === true };
}

async function known({ files, reference }: Chosen): Promise<StartProfile> {
  const profile = await files.read(reference);
  if (profile === undefined) throw new Failure('NOT_FOUND', `no start profile of ${reference} is on this host`, { next: 'provision it once, or import one' });
  return profile;
}

const written = (work: () => void, what: string): void => {
  try {
    work();
  } catch (error) {
    throw Failure.from(error, what);
  }
};

export async function show(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const choice = chosen(args, given);
  const profile = await known(choice);
  const files = profile.files.map(({ path, atMs, parts }) => ({ path: pathToText(path), at_ms: atMs, parts }));
  const head = { image: choice.reference, view: profile.view, recorded: new Date(profile.recordedMs).toISOString() };
  const rows = [...Object.entries(head), ['files', String(files.length)], ...files.map(({ path, at_ms: ms }) => [`${ms} ms`, path])];
  print(choice.json, { ...head, files }, table(rows));
}

/** To standard output where no file is named: it is JSON as it is. */
export async function exportProfile(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const choice = chosen(args, given);
  const profile = await known(choice);
  const text = profileText(choice.reference, profile);
  const { out } = given as { readonly out?: string };
  if (out === undefined) {
    process.stdout.write(text);
    return;
  }
  written(() => fs.writeFileSync(out, text), `cannot write ${out}`);
  print(choice.json, { image: choice.reference, file: out, files: profile.files.length }, `${choice.reference}: ${profile.files.length} files are in ${out}`);
}

/** One exported under another name of the image is taken too: what counts are the paths in it. */
export async function importProfile(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const choice = chosen(args, given);
  const profile = readProfileFile(args[1] as string);
  await choice.files.write(choice.reference, profile);
  print(choice.json, { image: choice.reference, files: profile.files.length }, `${choice.reference}: ${profile.files.length} files are fetched first from now on`);
}

export async function remove(args: readonly unknown[], given: Record<string, unknown>): Promise<void> {
  const choice = chosen(args, given);
  if (!(await choice.files.remove(choice.reference))) throw new Failure('NOT_FOUND', `no start profile of ${choice.reference} is on this host`);
  print(choice.json, { removed: choice.reference }, `the start profile of ${choice.reference} is removed`);
}

/** A profile that somebody exported. FAILED_PRECONDITION when it is none. */
export function readProfileFile(file: string): StartProfile & { readonly image: string } {
  let bytes: Buffer;
  try {
    const size = fs.statSync(file).size;
    if (size > PROFILE_BYTES_MAX) throw new Failure('FAILED_PRECONDITION', `${file} has ${size} bytes, and a start profile has ${PROFILE_BYTES_MAX} at most`);
    bytes = fs.readFileSync(file);
  } catch (error) {
    throw Failure.from(error, `cannot read ${file}`);
  }
  try {
    return parseProfile(bytes);
  } catch (error) {
    const { code, message, next } = Failure.from(error);
    throw new Failure(code, `${file}: ${message}`, next === undefined ? {} : { next });
  }
}
