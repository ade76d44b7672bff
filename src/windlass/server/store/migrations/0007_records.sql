-- What became of attempts: those worth a look later. Complete in itself, because calls are forgotten earlier.
CREATE TABLE record (
    n INTEGER PRIMARY KEY,
    call TEXT NOT NULL,                   -- id
    idx INTEGER NOT NULL,                 -- of the input
    attempt INTEGER NOT NULL,
    function INTEGER NOT NULL,
    method TEXT NOT NULL,
    kind INTEGER NOT NULL,                -- state.moves.Kind
    outcome INTEGER NOT NULL,             -- state.records.Outcome
    final INTEGER NOT NULL,               -- no further attempt followed
    container INTEGER,
    queue REAL NOT NULL,                  -- seconds: in the queue, for its container to start, in user code
    start REAL NOT NULL,
    run REAL NOT NULL,
    cpu REAL,                             -- seconds, NULL where not measured
    peak INTEGER,                         -- bytes
    ended_at REAL NOT NULL,
    reason TEXT NOT NULL,
    size INTEGER NOT NULL,                -- of the arguments, 0 when they are not kept
    blob TEXT,
    payload BLOB
);
CREATE INDEX record_call ON record (call, idx);
CREATE INDEX record_function ON record (function, n);
CREATE INDEX record_blob ON record (blob) WHERE blob IS NOT NULL;
CREATE INDEX record_kept ON record (n, size) WHERE size > 0;

-- All that ended, by function and minute: counts and histograms as JSON (state.records.Minute).
CREATE TABLE minute (
    function INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (function, minute)
) WITHOUT ROWID;
CREATE INDEX minute_age ON minute (minute);

-- Where a container's start-up time went.
ALTER TABLE container ADD COLUMN made_at REAL;                     -- its process began
ALTER TABLE container ADD COLUMN phases TEXT NOT NULL DEFAULT '{}'; -- seconds: "import", "enter"
CREATE INDEX container_function ON container (function, created_at);

-- Log entries name their call by its id: calls are forgotten before their output is.
CREATE TABLE log_new (
    n INTEGER PRIMARY KEY,
    app INTEGER NOT NULL,
    function INTEGER NOT NULL,
    container INTEGER NOT NULL,
    call TEXT,
    input TEXT,
    time REAL NOT NULL,
    source TEXT NOT NULL,
    text TEXT NOT NULL
);
INSERT INTO log_new SELECT l.n, l.app, l.function, l.container, c.id, l.input, l.time, l.source, l.text
FROM log l LEFT JOIN call c ON c.n = l.call;
DROP TABLE log;
ALTER TABLE log_new RENAME TO log;
CREATE INDEX log_app ON log (app, n);
