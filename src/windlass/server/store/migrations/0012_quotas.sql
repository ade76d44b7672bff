-- Bytes that the newest version of a volume may have: 0 for as many as it likes, NULL for what the settings say.
ALTER TABLE volume ADD COLUMN quota INTEGER;
-- Digest of a layer's archive in the place where objects are kept, NULL where it has none.
ALTER TABLE volume_layer ADD COLUMN pack TEXT;
