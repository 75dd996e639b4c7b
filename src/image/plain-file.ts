/** Small files of a repository that say something about an image: read only where nothing but themselves is at their path. */
import { Failure } from '../error';
import type { RepositoryReader, Snapshot } from '../repository/reader';

/** True for the answers that mean "there is no such thing here". */
export function isAbsence(reason: unknown): boolean {
  return reason instanceof Failure && (reason.code === 'NOT_FOUND' || reason.code === 'NOT_A_DIRECTORY');
}

/**
 * The file's bytes; undefined when there is none. A link anywhere on the path, another type than a file, or more than
 * `maxBytes` is FAILED_PRECONDITION: an image could otherwise make its neighbour's file speak for it.
 */
export async function readPlainFile(reader: RepositoryReader, snapshot: Snapshot, path: Buffer, maxBytes: number): Promise<Buffer | undefined> {
  try {
    const entry = await reader.walk(snapshot, path, { followLast: false });
    if (!entry.path.equals(path)) throw new Failure('FAILED_PRECONDITION', 'it is reached through a symbolic link');
    if (entry.type !== 'file') throw new Failure('FAILED_PRECONDITION', `it is a ${entry.type}, not a file`);
    if (entry.size > maxBytes) throw new Failure('FAILED_PRECONDITION', `it has ${entry.size} bytes, and ${maxBytes} are allowed`);
    return await reader.readFile(snapshot, path, maxBytes);
  } catch (reason) {
    if (isAbsence(reason)) return undefined;
    throw reason;
  }
}
