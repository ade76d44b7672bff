-- What an ephemeral app appends to the labels of its web functions.
ALTER TABLE app ADD COLUMN dev_suffix TEXT NOT NULL DEFAULT 'dev';
