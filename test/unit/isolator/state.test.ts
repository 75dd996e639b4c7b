/** What is remembered of isolated containers, as completion, holds and Prune see it. */
import Database from 'better-sqlite3';
import { MIGRATIONS } from '../../../provisioner/state/migrations';
import { State } from '../../../provisioner/state/state';

const container = (name: string) => ({ container: name, run: 'r', sequence: 1, bootId: 'boot', rootfs: null, pid: null, createdMs: 1000 });
const use = (holder: string, view = 'v') => ({ repository: 'a.example.org', view, pathInView: Buffer.from('/'), holder, reference: 'debian:12', device: '0:1' });

describe('isolated containers', () => {
  let state: State;
  beforeEach(() => {
    const db = new Database(':memory:');
    for (const step of MIGRATIONS) db.exec(step);
    state = new State(db);
  });
  afterEach(() => state.close());

  const holders = () => state.releases().map(({ holder }) => holder).sort();

  it('have their images completed, and pinned until the last on a directory has ended', () => {
    state.isolated.put(container('a'), [use('container.1')]);
    state.isolated.put(container('b'), [use('container.2'), use('container.3', '')]);
    state.completions.want('boot', 2000, () => 'complete.1');
    expect(state.completions.all()).toMatchObject([{ repository: 'a.example.org', view: 'v', reference: 'debian:12', holder: 'complete.1' }]);
    expect(state.completions.containersOn(use('x'), 9)).toEqual({ names: ['a', 'b'], count: 2 });
    state.isolated.remove(['a']);
    expect(holders()).toEqual(['container.1']);
    state.isolated.remove(['b']);
    // A live tree is not held, so nothing is owed for it.
    expect(holders()).toEqual(['complete.1', 'container.1', 'container.2']);
    expect(state.completions.all()).toEqual([]);
  });

  it('keep the links of the facade that they live on, and no others', () => {
    const link = { reference: 'r', repository: 'a.example.org', path: Buffer.from('/r'), view: 'f'.repeat(40), rootHash: 'f'.repeat(40), revision: 1, config: Buffer.from('{}'), madeMs: 1 };
    const digests = ['1', '2'].map((digit) => `sha256:${digit.repeat(64)}`);
    state.facadeLinks.put({ ...link, pathInView: Buffer.from('/a'), digest: digests[0]!, holder: 'h1' });
    state.facadeLinks.put({ ...link, pathInView: Buffer.from('/b'), digest: digests[1]!, holder: 'h2' });
    state.isolated.put(container('a'), [{ ...use('container.1', link.view), pathInView: Buffer.from('/b') }]);
    expect(state.facadeLinks.usedByIsolated()).toEqual([digests[1]]);
    state.isolated.remove(['a']);
    expect(state.facadeLinks.usedByIsolated()).toEqual([]);
  });

  it('written anew owe the holds that they have no more', () => {
    state.isolated.put(container('a'), [use('container.1'), use('container.2', 'w')]);
    state.isolated.put(container('a'), [use('container.1')]);
    expect(holders()).toEqual(['container.2']);
    expect(state.isolated.usesOf('a')).toHaveLength(1);
    expect(state.isolated.sharing('a.example.org')).toBe(1);
  });

  it('nest: a name that only begins like another is none of its', () => {
    for (const name of ['p', 'p/c', 'p/c/d', 'pq', 'p-c']) state.isolated.put(container(name), []);
    expect(state.isolated.within('p').sort()).toEqual(['p', 'p/c', 'p/c/d']);
  });
});
