import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { provisionerDirectories, provisionerDirectory, viewAt, viewsOf } from '../../../isolator/service/image-uses';
import { parseLayers } from '../../../isolator/service/layers-file';
import type { MountEntry } from '../../../src/native/mountinfo';
import { layersFile } from '../../support/isolator/agent-directories';

const HASH = 'a'.repeat(40);
const mounts = [{ repository: 'a.example.org', mountpoint: '/cvmfs/a.example.org', state: { kind: 'mounted' as const } }];
const entry = (mountpoint: string): MountEntry => ({ id: 1, parent: 0, device: '0:1', root: Buffer.from('/'), mountpoint: Buffer.from(mountpoint), options: [], tags: [], type: 'overlay', source: Buffer.from('overlay'), superOptions: '' });

describe('what an agent’s own provisioner keeps', () => {
  it('is found from the path of a root file system, for the container that it belongs to alone', () => {
    const rootfs = '/var/lib/mesos/provisioner/containers/a/containers/b/backends/overlay/rootfses/u';
    expect(provisionerDirectory(rootfs, ['a', 'b'])).toBe('/var/lib/mesos/provisioner/containers/a/containers/b');
    expect(provisionerDirectory(rootfs, ['b'])).toBeUndefined();
    expect(provisionerDirectory(rootfs, ['a'])).toBeUndefined();
    expect(provisionerDirectory('/tmp/rootfs', ['a'])).toBeUndefined();
  });

  it('is found from the mount table, without what is ours', () => {
    const table = [
      entry('/var/lib/mesos/provisioner/containers/a/backends/overlay/rootfses/u'),
      entry('/var/lib/mesos/provisioner/containers/a/containers/b/backends/bind/rootfses/v'),
      entry('/var/lib/mesos-cvmfs/provisioner/containers/x/backends/overlay/rootfses/w'),
      entry('/home'),
    ];
    const found = provisionerDirectories(table, '/var/lib/mesos-cvmfs/provisioner/containers');
    expect([...found].map(([key, { directory }]) => [key, directory])).toEqual([
      ['a', '/var/lib/mesos/provisioner/containers/a'],
      ['a/b', '/var/lib/mesos/provisioner/containers/a/containers/b'],
    ]);
  });

  it('names directories of views by links alone, each once, and passes over layers of the agent’s own', () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'layers-'));
    try {
      const layer = (name: string, target?: string): string => {
        const at = path.join(dir, name, 'rootfs.overlay');
        fs.mkdirSync(path.dirname(at));
        if (target === undefined) fs.mkdirSync(at);
        else fs.symlinkSync(target, at);
        return at;
      };
      const view = `/cvmfs/a.example.org/.cvmfs-view/${HASH}`;
      fs.writeFileSync(path.join(dir, 'layers'), layersFile([layer('one', view), layer('own'), layer('two', `${view}/x/y`), layer('again', view), layer('host', '/etc'), path.join(dir, 'pruned')], 'config'));
      expect(viewsOf(dir, mounts)).toEqual([
        { repository: 'a.example.org', view: HASH, pathInView: Buffer.from('/') },
        { repository: 'a.example.org', view: HASH, pathInView: Buffer.from('/x/y') },
      ]);
      expect(viewsOf(path.join(dir, 'nowhere'), mounts)).toEqual([]);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });

  it('may be empty, and is refused when it is cut off', () => {
    const whole = layersFile(['/a', '/b']);
    expect(parseLayers(whole)).toEqual(['/a', '/b']);
    expect(parseLayers(Buffer.alloc(0))).toEqual([]);
    for (let length = 1; length < whole.length; length++) expect(() => parseLayers(whole.subarray(0, length))).toThrow(expect.objectContaining({ code: 'STATE_DAMAGED' }));
  });

  it('a link to the live tree, to a name that only begins like a view, or elsewhere is no view', () => {
    for (const target of ['/cvmfs/a.example.org/x', `/cvmfs/a.example.org/.cvmfs-view/${HASH.slice(1)}`, `/cvmfs/b.example.org/.cvmfs-view/${HASH}`, `/x/cvmfs/a.example.org/.cvmfs-view/${HASH}`]) {
      expect(viewAt(Buffer.from(target), mounts)).toBeUndefined();
    }
    expect(viewAt(Buffer.from(`/cvmfs/a.example.org/.cvmfs-view/${HASH}-rmd160/d`), mounts)).toEqual({ repository: 'a.example.org', view: `${HASH}-rmd160`, pathInView: Buffer.from('/d') });
  });
});
