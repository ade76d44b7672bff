-- Tokens that clients of web functions show, and domains that lead here.
CREATE TABLE proxy_token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,                 -- SHA-256 of the secret, which is random and long
    environments TEXT NOT NULL,           -- JSON list of names; empty: valid for all
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL
);
CREATE TABLE web_domain (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL
);
