-- Proxies: addresses of this machine that containers leave by.
CREATE TABLE proxies (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    addresses TEXT NOT NULL,              -- a JSON list
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL
);
CREATE UNIQUE INDEX proxies_name ON proxies (environment, name);
