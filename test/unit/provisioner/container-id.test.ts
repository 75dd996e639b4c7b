import { containerId, containerIdFromKey, containerIdFromMessage, containerIdToMessage, containerKey, isWithin } from '../../../provisioner/container-id';
import { Layout } from '../../../provisioner/layout';
import type { ContainerIdMessage } from '../../../provisioner/container-id';

const refused = (names: string[], text: RegExp): void => {
  expect(() => containerId(names)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(text) }));
};

describe('container ids', () => {
  it('goes from a message to a chain, root first, and back', () => {
    const message = { value: 'child', parent: { value: 'root' } };
    const id = containerIdFromMessage(message);
    expect(id).toEqual(['root', 'child']);
    expect(containerIdToMessage(id)).toEqual(message);
    expect(containerIdFromKey(containerKey(id))).toEqual(id);
  });

  it('refuses what could leave the directory or not be made', () => {
    refused([], /missing/);
    refused([''], /empty/);
    refused(['.'], /not a name/);
    refused(['ok', '..'], /not a name/);
    refused(['../x'], /slash/);
    refused(['a\0b'], /NUL/);
    refused(['é'.repeat(128)], /255 bytes/);
    refused(Array.from({ length: 33 }, () => 'x'), /deep/);
    expect(containerId(['é'.repeat(127), 'a b', '-', '...', ','])).toHaveLength(5);
  });

  it('does not walk up an endless chain of parents', () => {
    const message: ContainerIdMessage = { value: 'x' };
    message.parent = message;
    expect(() => containerIdFromMessage(message)).toThrow(/nested more than 32 deep/);
  });

  it('knows what is nested in what', () => {
    expect(isWithin('a/b', 'a')).toBe(true);
    expect(isWithin('a', 'a')).toBe(true);
    expect(isWithin('ab', 'a')).toBe(false);
  });

  it('lays containers out as Mesos does, and refuses paths that cannot be mounted', () => {
    const layout = new Layout('/var/lib/mesos-cvmfs/provisioner');
    expect(layout.rootfs(['r', 'c'], 'overlay', 'u')).toBe('/var/lib/mesos-cvmfs/provisioner/containers/r/containers/c/backends/overlay/rootfses/u');
    expect(layout.scratch(['r'], 'overlay', 'u')).toBe('/var/lib/mesos-cvmfs/provisioner/containers/r/backends/overlay/scratch/u');
    expect(() => layout.container(Array.from({ length: 32 }, () => 'x'.repeat(255)))).toThrow(/1900 bytes/);
    expect(layout.container(Array.from({ length: 32 }, () => '0123456789abcdef0123456789abcdef0123'))).toContain('/containers/');
  });
});
