/**
 * Fully qualified repository names (fqrn), `sw.example.org`. Paths and URLs are made of them, so they are checked
 * before anything else is done: letters, digits, `_`, `-` and single dots, a letter or digit at both ends, at most 60.
 */
import { Failure } from '../error';

const PATTERN = /^[A-Za-z0-9]([A-Za-z0-9_-]|\.(?!\.))*[A-Za-z0-9]$/;
export const MAX_REPOSITORY_NAME = 60;

/** Answers the name, or throws INVALID_ARGUMENT. */
export function checkRepositoryName(name: string): string {
  if (name.length > MAX_REPOSITORY_NAME || !PATTERN.test(name)) {
    throw new Failure('INVALID_ARGUMENT', `not a repository name: ${JSON.stringify(name.slice(0, 80))}`, {
      next: `a name is like sw.example.org, of letters, digits, "_", "-" and single dots, at most ${MAX_REPOSITORY_NAME} characters`,
    });
  }
  return name;
}
