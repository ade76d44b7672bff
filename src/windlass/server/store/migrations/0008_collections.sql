-- Dicts and queues, and secrets that have names.

-- A dict or a queue. Emptying it gives it another content; the old one is deleted little by little.
CREATE TABLE collection (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,                   -- dict, queue
    name TEXT,                            -- NULL: ephemeral
    environment TEXT NOT NULL,
    client TEXT,                          -- an ephemeral one ends with it
    content INTEGER NOT NULL,
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX collection_name ON collection (kind, environment, name) WHERE name IS NOT NULL;
CREATE INDEX collection_client ON collection (client) WHERE client IS NOT NULL;

-- Numbers that are never given twice: of a dict's entries, of a queue's partitions, of a partition's items.
CREATE TABLE content (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,                   -- dict, queue, partition
    dropped INTEGER NOT NULL DEFAULT 0    -- nobody sees it any more
);
CREATE INDEX content_dropped ON content (n) WHERE dropped = 1;

-- used_at: of the last write, or of a read that came long enough after it. It stands before the value, so that looking
-- for old entries reads no large ones.
CREATE TABLE dict_entry (
    content INTEGER NOT NULL,
    key BLOB NOT NULL,                    -- pickled
    used_at REAL NOT NULL,
    size INTEGER NOT NULL,
    blob TEXT,
    value BLOB,                           -- pickled; NULL when a blob
    PRIMARY KEY (content, key)
) WITHOUT ROWID;
CREATE INDEX dict_blob ON dict_entry (blob) WHERE blob IS NOT NULL;
CREATE INDEX dict_has_blobs ON dict_entry (content) WHERE blob IS NOT NULL;

CREATE TABLE queue_partition (
    queue INTEGER NOT NULL,               -- content of the queue
    key BLOB NOT NULL,                    -- UTF-8, empty for the one without a name
    n INTEGER NOT NULL,                   -- content: of its items
    expires_at REAL NOT NULL,
    next INTEGER NOT NULL,                -- number of the next item
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;

-- An item stays until its getter has confirmed it.
CREATE TABLE queue_item (
    part INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value BLOB NOT NULL,                  -- pickled
    PRIMARY KEY (part, seq)
) WITHOUT ROWID;

-- What came of an operation, until its client knows: repeating it gives the same answer and changes nothing.
CREATE TABLE receipt (
    client TEXT NOT NULL,
    op INTEGER NOT NULL,
    at REAL NOT NULL,
    answer TEXT NOT NULL,
    size INTEGER NOT NULL,
    blob TEXT,
    value BLOB,
    PRIMARY KEY (client, op)
) WITHOUT ROWID;
CREATE INDEX receipt_blob ON receipt (blob) WHERE blob IS NOT NULL;

ALTER TABLE secret ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE secret ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE secret ADD COLUMN used_at REAL;
UPDATE secret SET name = NULL;            -- until now names were written and never read
CREATE UNIQUE INDEX secret_name ON secret (environment, name) WHERE name IS NOT NULL;
