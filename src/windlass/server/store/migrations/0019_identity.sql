-- Who may come in from outside, what each may do where, and what was done.
CREATE TABLE principal (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,                   -- owner, manager, member, viewer, service
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    used_at REAL
);
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL,                 -- SHA-256 of salt and secret, which is random and long
    old_digest BLOB,                      -- of the secret before the last rotation, for the client that lost its answer
    old_until REAL,
    environments TEXT NOT NULL,           -- JSON list of ids; empty: wherever its principal may be
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    expires_at REAL,
    used_at REAL,
    revoked_at REAL
);
CREATE INDEX token_principal ON token (principal);
CREATE TABLE environment_role (
    environment TEXT NOT NULL,            -- id, so that it survives another name
    principal TEXT NOT NULL,
    role TEXT NOT NULL,                   -- contributor, viewer, no-access
    PRIMARY KEY (environment, principal)
) WITHOUT ROWID;
ALTER TABLE environment ADD COLUMN default_role TEXT NOT NULL DEFAULT 'contributor';
CREATE TABLE audit (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    principal TEXT NOT NULL,              -- id; "" for whoever owns the machine
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    environment TEXT NOT NULL,
    source TEXT NOT NULL,
    outcome TEXT NOT NULL                 -- done, denied
);
CREATE INDEX audit_at ON audit (at);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
