/** What every thread of a file system server has of its own: open catalogs, open objects, and the tree over them. */
import { ObjectReader } from '../../cache/object-reader';
import { variantVariables } from '../../config/variant-variables';
import type { RepositoryConfig } from '../../config/repository-config';
import { IdMap } from '../../cvmfs/id-map';
import { CatalogSet } from '../../repository/catalog-set';
import type { Appearance } from '../../repository/node-attributes';
import { PlaceList } from '../../repository/places';
import { SharedState } from '../../repository/shared-state';
import { Spill } from '../../repository/spill';
import { Tree } from '../../repository/tree';

/** Everything a thread is started with; survives the trip into a worker. */
export interface ThreadSetup {
  readonly config: RepositoryConfig;
  /** The cache's generation (cache/generation.ts). */
  readonly generation: number;
  /** Descriptor of the index list. */
  readonly indexFd: number;
  readonly shared: SharedArrayBuffer;
  /** The mount's own folder. */
  readonly dir: string;
}

export interface ThreadTree {
  readonly tree: Tree;
  readonly objects: ObjectReader;
  readonly catalogs: CatalogSet;
  readonly places: PlaceList;
  readonly shared: SharedState;
  readonly spill: Spill;
}

function appearance(config: RepositoryConfig): Appearance {
  const variables = variantVariables(config);
  const map = (text: string, source: string): IdMap | null => (text === '' ? null : IdMap.parse(text, source));
  return {
    inodeBits: config.inodeBits,
    claimOwnership: config.claimOwnership,
    owner: { uid: 0, gid: 0 },
    worldReadable: config.worldReadable,
    uidMap: map(config.uidMap, 'uid_map'),
    gidMap: map(config.gidMap, 'gid_map'),
    variable: (name) => variables.get(name),
  };
}

/** `unfamiliar`: see CatalogSetOptions. */
export function openThreadTree(setup: ThreadSetup, unfamiliar: (what: string, why: string) => void): ThreadTree {
  const shared = new SharedState(setup.shared);
  const objects = new ObjectReader(setup.config.cacheDir, setup.generation);
  const spill = new Spill(setup.dir);
  const catalogs = new CatalogSet(setup.config.cacheDir, objects, spill, { unfamiliar });
  const places = new PlaceList(setup.indexFd, shared, setup.config.inodeBits);
  return { tree: new Tree(places, catalogs, shared, appearance(setup.config)), objects, catalogs, places, shared, spill };
}
