/**
 * The schema of `<state_dir>/state.db`, one step per version; `user_version` says how many were taken. Steps are only
 * ever added: a database of an older version is brought up, one of a newer version is refused.
 *
 * `rootfs`           one row per root file system, from intent to removal (provisioner/rootfs-state.ts)
 * `image`            images that were used, by each name, their views held for the next container until PruneImages; pinned by an operator or not
 * `completion`       directories of views that are fetched completely for long-running containers (completions.ts)
 * `isolated`         containers that an agent's isolator module told of, from Prepare to Cleanup (isolated.ts)
 * `isolated_use`     which directories of views, or with an empty view which live trees, each of those uses
 * `directory_use`    directories of views and who is on them, of rootfses and of isolated containers
 * `release`          holds on views that were given up here and that the file system server has yet to be told of
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE rootfs (
    uuid TEXT NOT NULL PRIMARY KEY,
    container TEXT NOT NULL,
    backend TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    boot_id TEXT,
    reference TEXT NOT NULL,
    repository TEXT NOT NULL,
    path BLOB NOT NULL,
    view TEXT NOT NULL,
    path_in_view BLOB NOT NULL,
    root_hash TEXT NOT NULL,
    revision INTEGER NOT NULL,
    digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    idempotency_key TEXT,
    fingerprint TEXT,
    created_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX rootfs_container ON rootfs (container);
  CREATE UNIQUE INDEX rootfs_key ON rootfs (container, idempotency_key) WHERE idempotency_key IS NOT NULL;
  CREATE TABLE image (
    digest TEXT NOT NULL,
    reference TEXT NOT NULL,
    holder TEXT NOT NULL,
    repository TEXT NOT NULL,
    path BLOB NOT NULL,
    view TEXT NOT NULL,
    path_in_view BLOB NOT NULL,
    root_hash TEXT NOT NULL,
    revision INTEGER NOT NULL,
    used_ms INTEGER NOT NULL,
    pinned_ms INTEGER,
    PRIMARY KEY (digest, reference)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE release (
    repository TEXT NOT NULL,
    view TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (repository, view, holder)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE completion (
    repository TEXT NOT NULL,
    view TEXT NOT NULL,
    path_in_view BLOB NOT NULL,
    holder TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    done_ms INTEGER,
    failure TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER NOT NULL DEFAULT 0,
    objects INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, view, path_in_view)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX rootfs_view ON rootfs (view);
  `,
  `
  CREATE TABLE facade_link (
    digest TEXT NOT NULL PRIMARY KEY,
    reference TEXT NOT NULL,
    holder TEXT NOT NULL UNIQUE,
    repository TEXT NOT NULL,
    path BLOB NOT NULL,
    view TEXT NOT NULL,
    path_in_view BLOB NOT NULL,
    root_hash TEXT NOT NULL,
    revision INTEGER NOT NULL,
    config BLOB NOT NULL,
    made_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE isolated (
    container TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    rootfs TEXT,
    pid INTEGER,
    created_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE isolated_use (
    container TEXT NOT NULL,
    repository TEXT NOT NULL,
    view TEXT NOT NULL,
    path_in_view BLOB NOT NULL,
    holder TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (container, repository, view, path_in_view)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX isolated_use_view ON isolated_use (view);
  CREATE VIEW directory_use AS
    SELECT container, repository, view, path_in_view, reference, state, boot_id, created_ms FROM rootfs
    UNION ALL
    SELECT u.container, u.repository, u.view, u.path_in_view, u.reference, 'mounted', i.boot_id, i.created_ms
      FROM isolated_use u JOIN isolated i ON i.container = u.container WHERE u.view <> '';
  `,
];

/** `MCVM`: a database of another program under our name is refused, not migrated. */
export const APPLICATION_ID = 0x4d43564d;
