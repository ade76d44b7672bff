-- What apps had of the machines, by the hour. Written when a container is gone; outlives the rows of its app.
CREATE TABLE usage (
    app TEXT NOT NULL,                    -- its id
    hour INTEGER NOT NULL,                -- since the epoch
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}',
    cores REAL NOT NULL,                  -- promised cores, times seconds
    memory REAL NOT NULL,                 -- promised MiB, times seconds
    gpus REAL NOT NULL,                   -- GPUs, times seconds
    cpu REAL NOT NULL,                    -- seconds of processors that were really used
    containers INTEGER NOT NULL,          -- that began in this hour
    PRIMARY KEY (app, hour)
) WITHOUT ROWID;
CREATE INDEX usage_hour ON usage (hour);
