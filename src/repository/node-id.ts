/**
 * Node ids: (index, rowid), the two halves of what the kernel knows a node by (docs/architecture.md, node ids).
 *
 *     (0, 1)  the root, whatever revision is live
 *     (0, 2)  `.cvmfs-view`, the directory of the pinned views
 *     (0, 3)  `.cvmfs-view/.prime`, an empty file that a mount is tried with before it is handed out
 *     (i, r)  row r of the catalog that index i stands for
 */
export interface NodeId {
  readonly index: number;
  readonly rowid: number;
}

export const ROOT: NodeId = { index: 0, rowid: 1 };
export const VIEWS: NodeId = { index: 0, rowid: 2 };
export const PRIME: NodeId = { index: 0, rowid: 3 };

export const VIEWS_NAME = Buffer.from('.cvmfs-view');
export const PRIME_NAME = Buffer.from('.prime');

const TWO_32 = 4294967296;

export function isRoot(node: NodeId): boolean {
  return node.index === 0 && node.rowid === 1;
}

export function isViews(node: NodeId): boolean {
  return node.index === 0 && node.rowid === 2;
}

export function isPrime(node: NodeId): boolean {
  return node.index === 0 && node.rowid === 3;
}

/** A key for maps in memory, exact because indices stay below 2^20 (`MAX_PLACES`). Never a number that leaves the process. */
export function nodeKey(node: NodeId): number {
  return node.index * TWO_32 + node.rowid;
}
