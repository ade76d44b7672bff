CREATE TABLE sandbox (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    app INTEGER NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}',
    spec TEXT NOT NULL,
    state INTEGER NOT NULL,               -- state.moves.SandboxState
    container INTEGER,                    -- number of its container, once it has one
    created_at REAL NOT NULL,
    started_at REAL,
    ready_at REAL,
    ended_at REAL,
    code INTEGER,
    why TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT ''
);
-- Images that are snapshots, and until when; NULL: for ever.
CREATE TABLE snapshot (
    image TEXT PRIMARY KEY,
    expires_at REAL
);
CREATE INDEX sandbox_app ON sandbox (app, n);
CREATE INDEX sandbox_living ON sandbox (state) WHERE state < 3;
CREATE INDEX sandbox_ended ON sandbox (ended_at) WHERE ended_at IS NOT NULL;
