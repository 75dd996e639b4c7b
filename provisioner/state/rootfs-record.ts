/** What is remembered of one root file system, and how a row becomes that again. */
import { Failure } from '../../src/error';
import { isFqrn } from '../../src/config/repository-config';
import type { ContainerId } from '../container-id';
import { containerIdFromKey } from '../container-id';
import type { ImageManifest } from '../grpc/generated/messages.generated';
import type { BackendName } from '../layout';
import { BACKENDS } from '../layout';
import type { RootfsState } from '../rootfs-state';

/** An image, resolved once and for ever: a directory in a pinned view (docs/architecture.md, pinned views). */
export interface PinnedDirectory {
  /** Canonical text of what was asked for. */
  readonly reference: string;
  readonly repository: string;
  /** In the repository at `revision`, bytes. */
  readonly path: Buffer;
  /** Catalog hash of the view. */
  readonly view: string;
  readonly pathInView: Buffer;
  readonly rootHash: string;
  readonly revision: number;
  /** `sha256:…` */
  readonly digest: string;
}

export interface RootfsRecord {
  readonly uuid: string;
  readonly container: ContainerId;
  readonly backend: BackendName;
  readonly state: RootfsState;
  readonly image: PinnedDirectory;
  readonly manifest: ImageManifest;
  /** The caller's key with a digest of what was asked under it. */
  readonly request?: { readonly key: string; readonly fingerprint: string };
  readonly createdMs: number;
}

/** A row that makes no sense; it is reported and left where it is. */
export interface BadRow {
  readonly uuid: string;
  /** The container column as it is found, perhaps no container id at all. */
  readonly container: string;
  readonly reason: string;
}

export interface RootfsRow {
  uuid: string;
  container: string;
  backend: string;
  state: string;
  reason: string | null;
  boot_id: string | null;
  reference: string;
  repository: string;
  path: Buffer;
  view: string;
  path_in_view: Buffer;
  root_hash: string;
  revision: number;
  digest: string;
  manifest: string;
  idempotency_key: string | null;
  fingerprint: string | null;
  created_ms: number;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const CATALOG_HASH = /^[0-9a-f]{40}(-rmd160|-shake128)?$/;

function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Failure('STATE_DAMAGED', what);
}

function stateOf(row: RootfsRow): RootfsState {
  switch (row.state) {
    case 'intended':
    case 'destroying':
      return { kind: row.state };
    case 'mounted':
      expect(row.boot_id !== null, 'a mounted rootfs without a boot id');
      return { kind: 'mounted', bootId: row.boot_id };
    case 'quarantined':
      return { kind: 'quarantined', bootId: row.boot_id ?? '', reason: row.reason ?? 'no reason was recorded' };
    default:
      throw new Failure('STATE_DAMAGED', `unknown state '${row.state}'`);
  }
}

/** Throws when a column holds what this program never writes: paths are built and mounts made from these values. */
function parse(row: RootfsRow): RootfsRecord {
  expect(UUID.test(row.uuid), 'the rootfs id is not a UUID');
  expect((BACKENDS as readonly string[]).includes(row.backend), `unknown backend '${row.backend}'`);
  expect(isFqrn(row.repository), `'${row.repository}' is not the name of a repository`);
  expect(CATALOG_HASH.test(row.view), `'${row.view}' is not a catalog hash`);
  expect(row.path_in_view[0] === 0x2f && !row.path_in_view.includes(0), 'the path in the view is not an absolute path');
  const manifest: unknown = JSON.parse(row.manifest);
  expect(typeof manifest === 'object' && manifest !== null && 'config' in manifest, 'the image manifest has no config');
  return {
    uuid: row.uuid,
    container: containerIdFromKey(row.container),
    backend: row.backend as BackendName,
    state: stateOf(row),
    image: {
      reference: row.reference,
      repository: row.repository,
      path: row.path,
      view: row.view,
      pathInView: row.path_in_view,
      rootHash: row.root_hash,
      revision: row.revision,
      digest: row.digest,
    },
    manifest: manifest as ImageManifest,
    ...(row.idempotency_key === null ? {} : { request: { key: row.idempotency_key, fingerprint: row.fingerprint ?? '' } }),
    createdMs: row.created_ms,
  };
}

export function recordOf(row: RootfsRow): RootfsRecord | BadRow {
  try {
    return parse(row);
  } catch (err) {
    return { uuid: row.uuid, container: row.container, reason: `its record in the state database makes no sense: ${Failure.from(err).what}` };
  }
}

export function isBadRow(found: RootfsRecord | BadRow): found is BadRow {
  return 'reason' in found;
}
