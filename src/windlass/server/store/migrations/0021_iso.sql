-- Memory of sandboxes at one moment, with all that a sandbox that goes on from there needs.
CREATE TABLE sandbox_memory (
    id TEXT PRIMARY KEY,
    image TEXT NOT NULL,                  -- its files, and beside them its memory
    app INTEGER NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '{}',
    spec TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX sandbox_memory_expires ON sandbox_memory (expires_at);
