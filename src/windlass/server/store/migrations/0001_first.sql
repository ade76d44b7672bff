-- Numbers (n) are the server's own, ids the world's. Times are seconds since the epoch.

CREATE TABLE app (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    environment TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    state INTEGER NOT NULL,               -- state.moves.AppState
    client TEXT,
    tags TEXT NOT NULL DEFAULT '{}',
    published INTEGER NOT NULL DEFAULT 0,
    layout TEXT NOT NULL DEFAULT '{}',    -- function ids by tag
    draining INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    stopped_at REAL,
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX app_name ON app (name, environment);
CREATE INDEX app_stopped ON app (stopped_at);

CREATE TABLE function (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    app INTEGER NOT NULL,
    tag TEXT NOT NULL,
    spec TEXT NOT NULL,
    autoscaler TEXT                       -- overrides, or NULL
);
CREATE INDEX function_app ON function (app);

CREATE TABLE call (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    function INTEGER NOT NULL,
    kind INTEGER NOT NULL,                -- state.moves.Kind
    client TEXT,
    parent INTEGER,                       -- key of the input that made the call
    closed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    done_at REAL,                         -- all inputs have ended
    num_inputs INTEGER NOT NULL DEFAULT 0 -- exact once done_at is set
);
CREATE UNIQUE INDEX call_part ON call (substr(id, 4, 16));
CREATE INDEX call_open ON call (function) WHERE done_at IS NULL;
CREATE INDEX call_client ON call (client) WHERE done_at IS NULL;
CREATE INDEX call_parent ON call (parent) WHERE parent IS NOT NULL;
CREATE INDEX call_done ON call (done_at) WHERE done_at IS NOT NULL;

-- key: call number << 30 | index. Ready ones of a function are found by a partial index, in order of arrival of their calls.
CREATE TABLE input (
    key INTEGER PRIMARY KEY,
    function INTEGER NOT NULL,
    state INTEGER NOT NULL,               -- state.moves.InputState
    attempt INTEGER NOT NULL DEFAULT 0,   -- fencing token: grows with each lease
    retries INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    container INTEGER,
    not_before REAL NOT NULL DEFAULT 0,
    status INTEGER,                       -- state.moves.Status once done
    seq INTEGER,                          -- of its output
    size INTEGER NOT NULL,
    blob TEXT,
    payload BLOB                          -- NULL when large, a blob, or done
);
CREATE INDEX input_ready ON input (function, key) WHERE state = 0;
CREATE INDEX input_blob ON input (blob) WHERE blob IS NOT NULL;
CREATE INDEX input_held ON input (state, key) WHERE state IN (1, 3);

-- Payloads too large to be rewritten with each change of their input's row.
CREATE TABLE large (
    key INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
);

-- key: call number << 30 | seq.
CREATE TABLE output (
    key INTEGER PRIMARY KEY,
    idx INTEGER NOT NULL,
    status INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    size INTEGER NOT NULL,
    blob TEXT,
    body BLOB,                            -- the message as JSON but for payloads, NULL for a plain success
    data BLOB
);

CREATE INDEX output_blob ON output (blob) WHERE blob IS NOT NULL;

CREATE TABLE container (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    function INTEGER NOT NULL,
    app INTEGER NOT NULL,
    node TEXT NOT NULL,
    state INTEGER NOT NULL,               -- state.moves.ContainerState
    want TEXT NOT NULL DEFAULT 'run',
    created_at REAL NOT NULL,
    started_at REAL,
    gone_at REAL,
    exit TEXT,
    log_offset INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX container_app ON container (app);
CREATE INDEX container_alive ON container (state) WHERE state < 5;

CREATE TABLE image (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    parent TEXT,
    recipe TEXT NOT NULL,
    meta TEXT,
    built_at REAL NOT NULL
);
-- Which image a key means now; a forced rebuild moves it.
CREATE TABLE image_current (
    key TEXT PRIMARY KEY,
    id TEXT NOT NULL
);

CREATE TABLE secret (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    app TEXT,
    keys TEXT NOT NULL,                   -- names of the variables
    env BLOB NOT NULL,                    -- encrypted
    created_at REAL NOT NULL
);

CREATE TABLE log (
    n INTEGER PRIMARY KEY,
    app INTEGER NOT NULL,
    function INTEGER NOT NULL,
    container INTEGER NOT NULL,
    call INTEGER,
    input TEXT,
    time REAL NOT NULL,
    source TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX log_app ON log (app, n);
