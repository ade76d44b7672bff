-- Devices that a container holds: a list of ids.
ALTER TABLE container ADD COLUMN gpus TEXT NOT NULL DEFAULT '[]';
