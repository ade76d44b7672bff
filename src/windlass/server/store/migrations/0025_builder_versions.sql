-- Whose layers are used for images of an environment; '' for the server's own.
ALTER TABLE environment ADD COLUMN builder_version TEXT NOT NULL DEFAULT '';
