/**
 * Start profiles as files (docs/format.md, start profiles): in the state, exported, and published beside an image. They
 * are read as a stranger's word: bounded, and with no path that leads out of the image.
 */
import { z } from 'zod';
import { Failure } from '../error';
import { isProfilePath, PROFILE_FILES_MAX, profiledFileShape } from '../repository/start-profile';
import type { ProfiledFile, StartProfile } from '../repository/start-profile';
import { pathToText, textToPath } from './path-text';

export const PROFILE_BYTES_MAX = 1 << 20;
const FORMAT = 'mesos-cvmfs start profile';
const VERSION = 1;

const shape = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  image: z.string().max(4_096),
  view: z.string().regex(/^[0-9a-f]{40}(-rmd160|-shake128)?$/),
  path_in_view: z.string().max(12_288),
  recorded: z.iso.datetime(),
  files: z.array(z.object({ path: z.string().min(1).max(12_288), ...profiledFileShape })).max(PROFILE_FILES_MAX),
});

/** One line a file, so that two profiles can be compared; what is too much for `PROFILE_BYTES_MAX` is left out at the end. */
export function profileText(image: string, profile: StartProfile): string {
  const head = { format: FORMAT, version: VERSION, image, view: profile.view, path_in_view: pathToText(profile.pathInView), recorded: new Date(profile.recordedMs).toISOString() };
  const lines: string[] = [];
  let bytes = 16_384;
  for (const { path, atMs, parts, unmet } of profile.files) {
    const line = `    ${JSON.stringify({ path: pathToText(path), at_ms: atMs, parts, ...(unmet === 0 ? {} : { unmet }) })}`;
    bytes += Buffer.byteLength(line) + 2;
    if (bytes > PROFILE_BYTES_MAX) break;
    lines.push(line);
  }
  return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "files": [\n${lines.join(',\n')}\n  ]\n}\n`;
}

/** FAILED_PRECONDITION for what is none. Files whose path leads out of the image are a reason to refuse all of it. */
export function parseProfile(bytes: Buffer): StartProfile & { readonly image: string } {
  const refuse = (why: string): Failure => new Failure('FAILED_PRECONDITION', `this is no start profile: ${why}`, { next: 'write one with: mesos-cvmfs image profile export' });
  if (bytes.length > PROFILE_BYTES_MAX) throw refuse(`it has ${bytes.length} bytes, and ${PROFILE_BYTES_MAX} are allowed`);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw refuse(Failure.from(error).message);
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw refuse(`field ${issue.path.join('.')}: ${issue.message}`);
  }
  const { image, view, path_in_view, recorded, files } = parsed.data;
  const path = (text: string): Buffer => {
    try {
      return textToPath(text);
    } catch (error) {
      throw refuse(Failure.from(error).message);
    }
  };
  const pathInView = path(path_in_view);
  if (!pathInView.equals(Buffer.from('/')) && !(pathInView[0] === 0x2f && isProfilePath(pathInView.subarray(1)))) throw refuse('path_in_view is no absolute path');
  const cleaned = files.map((file): ProfiledFile => {
    const below = path(file.path);
    if (!isProfilePath(below)) throw refuse(`${JSON.stringify(file.path.slice(0, 200))} does not lead to something in the image`);
    return { path: below, atMs: file.at_ms, parts: file.parts, unmet: file.unmet };
  });
  return { image, view, pathInView, recordedMs: Date.parse(recorded), files: cleaned };
}
