/** The members that are ours: an image in a CernVM-FS repository, in apps and in pods. */
import { pullConfig } from './definitions-common';
import { choice, flag, record, text } from './shape';

/** As `isFqrn` of the configuration: a test compares them. */
const repository = text({ min: 1, max: 60, pattern: '^[A-Za-z0-9](\\.?[A-Za-z0-9_-])*\\.?[A-Za-z0-9]$', expected: 'the name of a repository such as images.example.org' });

/** Both are what `container.docker` has under the same names, and stay what they are. */
const pulling = { forcePullImage: flag, pullConfig };

/** `container.cvmfs` of an app: a directory of a repository, or a docker name to be looked up in one or in all. */
export const appImage = choice([], {
  path: record({ repository, path: text({ min: 1, max: 4096 }) }, pulling),
  image: record({ image: text({ min: 1 }) }, { repository, ...pulling }),
});

/** Members of a pod container's image of kind CVMFS besides those of kind DOCKER; `id` may be `cvmfs://<fqrn>/<path>`. */
export const podImageMembers = { repository };
