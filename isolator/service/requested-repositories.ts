/**
 * Which repositories a container asks to have at /cvmfs, in the words of who wrote its definition:
 *
 *     CVMFS_REPOSITORIES=data.example.org,software.example.org
 *
 * as a variable of its own environment, or as a label of its task or executor (of a pod: of the pod), the first of these
 * that is there. So a container in a pod can refuse with an empty variable what the pod's label asks for.
 */
import type { ContainerConfig, Labels } from '../../provisioner/grpc/generated/messages.generated';
import { ISOLATOR_REPOSITORIES_MAX } from '../../src/config/schema';
import { isFqrn } from '../../src/config/repository-config';
import { Failure } from '../../src/error';

/** Name of the variable and of the label. */
export const REQUEST_NAME = 'CVMFS_REPOSITORIES';

const shown = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

function ofEnvironment(config: ContainerConfig): string | undefined {
  // The command of a command task is its executor's; the task's own is in the task.
  const { environment } = (config.task_info === undefined ? config.command_info : config.task_info.command) ?? {};
  const variable = environment?.variables.findLast(({ name }) => name === REQUEST_NAME);
  if (variable?.type === 'SECRET') {
    throw new Failure('INVALID_ARGUMENT', `the variable ${REQUEST_NAME} is a secret`, { next: 'give the names of the repositories as plain text' });
  }
  return variable && (variable.value ?? '');
}

function ofLabels(labels: Labels | undefined): string | undefined {
  const label = labels?.labels.findLast(({ key }) => key === REQUEST_NAME);
  return label && (label.value ?? '');
}

/**
 * Without duplicates, in the order given. Errors, in words for a framework's user: INVALID_ARGUMENT (no name of a
 * repository, or too many), PERMISSION_DENIED (not in `isolator.allowed_repositories`).
 */
export function requestedRepositories(config: ContainerConfig, allowed: readonly string[]): string[] {
  const asked = ofEnvironment(config) ?? ofLabels(config.task_info?.labels) ?? ofLabels(config.executor_info?.labels) ?? '';
  const names = [...new Set(asked.split(',').map((name) => name.trim()).filter((name) => name !== ''))];
  if (names.length > ISOLATOR_REPOSITORIES_MAX) {
    throw new Failure('INVALID_ARGUMENT', `${REQUEST_NAME} names ${names.length} repositories, ${ISOLATOR_REPOSITORIES_MAX} are allowed`, { next: 'name only those that the container uses' });
  }
  for (const name of names) {
    if (!isFqrn(name)) throw new Failure('INVALID_ARGUMENT', `${REQUEST_NAME}: ${shown(name)} is not the name of a repository`, { next: 'write names such as data.example.org, separated by commas' });
    if (!allowed.includes(name)) {
      throw new Failure('PERMISSION_DENIED', `${REQUEST_NAME}: containers on this agent may not have the repository ${name}`, { next: 'ask its operator to add it to isolator.allowed_repositories, or leave it out' });
    }
  }
  return names;
}
