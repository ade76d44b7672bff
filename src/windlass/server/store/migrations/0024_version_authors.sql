-- Who made a version of a volume, where made_by only tells one request from others: an upload, or another edit.
ALTER TABLE volume_version ADD COLUMN author TEXT NOT NULL DEFAULT '';
