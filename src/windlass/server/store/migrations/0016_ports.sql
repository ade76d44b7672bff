-- Where the ports of sandboxes are reached, so that they are there again after a restart. raw: of their own bytes, or 0.
CREATE TABLE sandbox_port (
    sandbox INTEGER NOT NULL,
    port INTEGER NOT NULL,
    host TEXT NOT NULL,
    number INTEGER NOT NULL,
    raw INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (sandbox, port)
) WITHOUT ROWID;
