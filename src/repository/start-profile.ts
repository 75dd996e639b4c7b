/**
 * A start profile: what containers of an image opened in their first seconds, in order. It names files by their paths
 * below the image's root, so that it still says something about an image that has been updated since.
 */
import { z } from 'zod';

export const PROFILE_FILES_MAX = 4_096;
export const PROFILE_PARTS_MAX = 1_024;
const PATH_BYTES_MAX = 4_096;
const NAME_BYTES_MAX = 255;
const DEPTH_MAX = 128;
/** What this many recordings in a row have not met is left out of the profile: pages that the kernel still has are not read. */
const UNMET_MAX = 3;
const TIME_MS_MAX = 3_600_000;

export interface ProfiledFile {
  /** Below the image's root, without a slash at either end; bytes. A directory where a catalog begins stands for that catalog. */
  readonly path: Buffer;
  /** When it was first read, after the recording had begun. */
  readonly atMs: number;
  /** Which of its objects were read, by position: 0 alone for a file that is not cut into chunks; none for a catalog. */
  readonly parts: readonly number[];
  /** Recordings in a row that have not met it. */
  readonly unmet: number;
}

export interface StartProfile {
  /** The view that it was recorded in, and the image's directory there. */
  readonly view: string;
  readonly pathInView: Buffer;
  /** Unix milliseconds. */
  readonly recordedMs: number;
  readonly files: readonly ProfiledFile[];
}

/** True for a path that leads from a directory to something below it, whoever wrote it. */
export function isProfilePath(path: Buffer): boolean {
  if (path.length === 0 || path.length > PATH_BYTES_MAX || path.includes(0)) return false;
  const names = path.toString('latin1').split('/');
  return names.length <= DEPTH_MAX && names.every((name) => name !== '' && name !== '.' && name !== '..' && name.length <= NAME_BYTES_MAX);
}

/** What a profile says of one file but for its path, as JSON. */
export const profiledFileShape = {
  at_ms: z.number().int().min(0).max(TIME_MS_MAX),
  parts: z.array(z.number().int().min(0).max(1 << 24)).max(PROFILE_PARTS_MAX),
  unmet: z.number().int().min(0).max(UNMET_MAX).default(0),
};

/** The files on the wire between service and file system server: paths are base64. */
export const wireFilesShape = z.array(z.strictObject({ path: z.string().max(6_000).regex(/^[A-Za-z0-9+/]*={0,2}$/), ...profiledFileShape })).max(PROFILE_FILES_MAX);

export function toWireFiles(files: readonly ProfiledFile[]): z.input<typeof wireFilesShape> {
  return files.map(({ path, atMs, parts, unmet }) => ({ path: path.toString('base64'), at_ms: atMs, parts: [...parts], unmet }));
}

/** Paths that lead elsewhere are left out. */
export function fromWireFiles(files: z.output<typeof wireFilesShape>): ProfiledFile[] {
  return files.map(({ path, at_ms: atMs, parts, unmet }) => ({ path: Buffer.from(path, 'base64'), atMs, parts, unmet })).filter(({ path }) => isProfilePath(path));
}

/** A new recording, with what earlier ones knew and it did not meet after it. */
export function mergedFiles(earlier: readonly ProfiledFile[], recorded: readonly ProfiledFile[]): ProfiledFile[] {
  const before = new Map(earlier.map((file) => [file.path.toString('latin1'), file]));
  const merged = recorded.map((file) => {
    const key = file.path.toString('latin1');
    const old = before.get(key);
    before.delete(key);
    return old === undefined ? file : { ...file, parts: [...new Set([...file.parts, ...old.parts])].sort((a, b) => a - b).slice(0, PROFILE_PARTS_MAX) };
  });
  for (const file of before.values()) if (file.unmet < UNMET_MAX) merged.push({ ...file, unmet: file.unmet + 1 });
  return merged.slice(0, PROFILE_FILES_MAX);
}
