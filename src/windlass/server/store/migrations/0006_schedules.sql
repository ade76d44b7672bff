-- Functions that run by themselves; there is a row as long as they do.
CREATE TABLE schedule (
    function INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,               -- wire.messages.functions.ScheduleSpec
    since REAL NOT NULL,                  -- what periods are counted from
    next_at REAL,                         -- NULL: never again
    fired_at REAL,
    call_id TEXT                          -- of the last run
);
