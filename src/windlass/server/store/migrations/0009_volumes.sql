-- Volumes. A volume is its newest version; a version is a stack of layers, which lie on workers.
CREATE TABLE volume (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT,                            -- NULL: ephemeral
    kind INTEGER NOT NULL,                -- 1 or 2, as asked for; both are the same here
    head INTEGER NOT NULL,                -- newest version, 0 for none
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    beat_at REAL NOT NULL                 -- of an ephemeral one: when its owner was last heard
);
CREATE UNIQUE INDEX volume_name ON volume (environment, name) WHERE name IS NOT NULL;

-- Every commit, the newest ones of each volume.
CREATE TABLE volume_version (
    volume TEXT NOT NULL,
    n INTEGER NOT NULL,
    made_by TEXT NOT NULL,                -- container or client
    layer TEXT NOT NULL,                  -- that it added; '' for a restored or forked one
    layers TEXT NOT NULL,                 -- JSON, bottom first
    puts BLOB NOT NULL,                   -- paths that it put, zero bytes between them, compressed
    clears BLOB NOT NULL,                 -- paths that it took away with all below
    files INTEGER NOT NULL,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (volume, n)
) WITHOUT ROWID;
CREATE INDEX volume_version_layer ON volume_version (layer);

-- Layers that versions name: what the worker said of them.
CREATE TABLE volume_layer (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,                 -- of its index, which holds the digests of its files
    files INTEGER NOT NULL,
    size INTEGER NOT NULL
) WITHOUT ROWID;
