-- Spawned calls whose results were deleted for age: asked for again, they are expired, not unknown.
CREATE TABLE expired (
    id TEXT PRIMARY KEY,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX expired_at ON expired (at);
