import type { ContainerConfig } from '../../../provisioner/grpc/generated/messages.generated';
import { requestedRepositories } from '../../../isolator/service/requested-repositories';

const ALLOWED = ['a.example.org', 'b.example.org', ...Array.from({ length: 17 }, (_, i) => `r${i}.example.org`)];

const environment = (value: string) => ({ variables: [{ name: 'PATH', value: '/bin' }, { name: 'CVMFS_REPOSITORIES', value }] });
const labels = (value: string) => ({ labels: [{ key: 'CVMFS_REPOSITORIES', value }] });
const command = (value?: string) => ({ arguments: [], ...(value === undefined ? {} : { environment: environment(value) }) });
const ids = { task_id: { value: 't' }, slave_id: { value: 's' }, name: 't' };
const executor = (value: string) => ({ executor_id: { value: 'e' }, labels: labels(value) });
const config = (more: Partial<ContainerConfig>): ContainerConfig => ({ command_info: command(), directory: '/sandbox', ephemeral_volumes: [], ...more });

describe('the repositories that a container asks for', () => {
  it('are none without a word', () => {
    expect(requestedRepositories(config({}), ALLOWED)).toEqual([]);
    expect(requestedRepositories(config({ command_info: command('') }), ALLOWED)).toEqual([]);
  });

  it('come from its environment, each once, in their order', () => {
    expect(requestedRepositories(config({ command_info: command(' b.example.org, a.example.org,b.example.org,') }), ALLOWED)).toEqual(['b.example.org', 'a.example.org']);
  });

  it('come from the environment of the task where the command is an executor’s', () => {
    const task = { ...ids, command: command('a.example.org') };
    expect(requestedRepositories(config({ task_info: task, command_info: command('b.example.org') }), ALLOWED)).toEqual(['a.example.org']);
  });

  it('come from labels of the task, then of the executor, and an empty variable refuses them', () => {
    expect(requestedRepositories(config({ task_info: { ...ids, labels: labels('a.example.org') }, executor_info: executor('b.example.org') }), ALLOWED)).toEqual(['a.example.org']);
    expect(requestedRepositories(config({ executor_info: executor('b.example.org') }), ALLOWED)).toEqual(['b.example.org']);
    expect(requestedRepositories(config({ executor_info: executor('b.example.org'), command_info: command('') }), ALLOWED)).toEqual([]);
  });

  it('the last variable of the name wins', () => {
    const variables = [...environment('a.example.org').variables, ...environment('b.example.org').variables];
    expect(requestedRepositories(config({ command_info: { arguments: [], environment: { variables } } }), ALLOWED)).toEqual(['b.example.org']);
  });

  it.each([
    ['c.example.org', 'PERMISSION_DENIED', /containers on this agent may not have the repository c\.example\.org; ask its operator to add it to isolator\.allowed_repositories/],
    ['../etc', 'INVALID_ARGUMENT', /"\.\.\/etc" is not the name of a repository/],
    ['a.example.org b.example.org', 'INVALID_ARGUMENT', /separated by commas/],
    [ALLOWED.slice(0, 17).join(','), 'INVALID_ARGUMENT', /names 17 repositories, 16 are allowed/],
  ])('%s is refused', (value, code, message) => {
    expect(() => requestedRepositories(config({ command_info: command(value) }), ALLOWED)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('as a secret is refused', () => {
    const variables = [{ name: 'CVMFS_REPOSITORIES', type: 'SECRET' as const }];
    expect(() => requestedRepositories(config({ command_info: { arguments: [], environment: { variables } } }), ALLOWED)).toThrow(/is a secret; give the names of the repositories as plain text/);
  });
});
