-- Network file systems. Their files lie with workers, in a folder by the id.
CREATE TABLE nfs (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT,                            -- NULL: ephemeral
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    beat_at REAL NOT NULL                 -- of an ephemeral one: when its owner was last heard
);
CREATE UNIQUE INDEX nfs_name ON nfs (environment, name) WHERE name IS NOT NULL;
