-- Which cluster a container belongs to, and its place in it.
ALTER TABLE container ADD COLUMN cluster TEXT;
ALTER TABLE container ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
