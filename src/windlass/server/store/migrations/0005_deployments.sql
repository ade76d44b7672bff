-- Environments, and the versions of deployed apps.

CREATE TABLE environment (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    web_suffix TEXT NOT NULL,
    created_at REAL NOT NULL
);
-- Until now a name was enough to make one.
INSERT INTO environment (id, name, web_suffix, created_at)
SELECT 'en-' || substr(lower(hex(randomblob(11))), 1, 22), name, CASE name WHEN 'main' THEN '' ELSE lower(replace(name, '_', '-')) END,
       CAST(strftime('%s', 'now') AS REAL)
FROM (SELECT 'main' AS name UNION SELECT environment FROM app UNION SELECT environment FROM image_name);

ALTER TABLE app ADD COLUMN version INTEGER NOT NULL DEFAULT 0;  -- the current one; 0: never deployed
ALTER TABLE app ADD COLUMN local_name TEXT;                     -- what its code calls it
UPDATE app SET local_name = name;

ALTER TABLE function ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;  -- grows with each new spec
ALTER TABLE function ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;     -- a later version is without it
ALTER TABLE function ADD COLUMN pin INTEGER;                            -- a pool that stays with this version of the app
ALTER TABLE container ADD COLUMN generation INTEGER NOT NULL DEFAULT 0; -- of its function, when it was made

-- Every spec that a published function has had.
CREATE TABLE spec (
    function INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (function, generation)
) WITHOUT ROWID;

CREATE TABLE deployment (
    app INTEGER NOT NULL,
    version INTEGER NOT NULL,
    deploy_id TEXT NOT NULL,              -- chosen by who deploys: repeating changes nothing
    deployed_at REAL NOT NULL,
    layout TEXT NOT NULL,                 -- function id and generation by tag
    facts TEXT NOT NULL,                  -- who, with what, from which commit (wire.messages.deployments.Facts)
    PRIMARY KEY (app, version)
) WITHOUT ROWID;
