-- name: by_id
SELECT id, environment, name, kind, head, created_at, created_by, beat_at, quota FROM volume WHERE id = ?;
-- name: by_name
SELECT id, environment, name, kind, head, created_at, created_by, beat_at, quota FROM volume
WHERE environment = ? AND name = ?;
-- name: named
SELECT id, environment, name, kind, head, created_at, created_by, beat_at, quota FROM volume
WHERE environment = ? AND name IS NOT NULL ORDER BY created_at DESC, name;
-- name: silent
SELECT id, environment, name, kind, head, created_at, created_by, beat_at, quota FROM volume
WHERE name IS NULL AND beat_at < ?;
-- name: insert
INSERT INTO volume (id, environment, name, kind, head, created_at, created_by, beat_at, quota)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: rename
UPDATE volume SET name = ? WHERE id = ?;
-- name: beat
UPDATE volume SET beat_at = ? WHERE id = ?;
-- name: set_head
UPDATE volume SET head = ? WHERE id = ?;
-- name: delete
DELETE FROM volume WHERE id = ?;
-- name: delete_versions
DELETE FROM volume_version WHERE volume = ?;
-- name: version
SELECT n, made_by, layer, layers, puts, clears, files, size, created_at, author FROM volume_version WHERE volume = ? AND n = ?;
-- name: since
SELECT n, made_by, layer, layers, puts, clears, files, size, created_at, author FROM volume_version
WHERE volume = ? AND n > ? ORDER BY n;
-- name: history
SELECT n, made_by, layer, layers, x'', x'', files, size, created_at, author FROM volume_version
WHERE volume = ? ORDER BY n DESC LIMIT ?;
-- name: with_layer
SELECT n FROM volume_version WHERE volume = ? AND layer = ?;
-- name: insert_version
INSERT INTO volume_version (volume, n, made_by, layer, layers, puts, clears, files, size, created_at, author)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: set_layers
UPDATE volume_version SET layers = ? WHERE volume = ? AND n = ?;
-- name: forget_versions
DELETE FROM volume_version WHERE volume = ? AND n < ?;
-- name: insert_layer
INSERT OR REPLACE INTO volume_layer (id, digest, files, size, pack) VALUES (?, ?, ?, ?, ?);
-- name: layer
SELECT id, digest, files, size, pack FROM volume_layer WHERE id = ?;
-- name: all_stacks
SELECT layers FROM volume_version;
-- name: all_layers
SELECT id FROM volume_layer;
-- name: forget_layer
DELETE FROM volume_layer WHERE id = ?;
-- name: heads
SELECT v.id, x.n, x.layers FROM volume v JOIN volume_version x ON x.volume = v.id AND x.n = v.head;
-- name: rename_environment
UPDATE volume SET environment = :new WHERE environment = :old;
-- name: of_environment
SELECT id FROM volume WHERE environment = ?;
-- name: made_by
SELECT n FROM volume_version WHERE volume = ? AND made_by = ? ORDER BY n DESC LIMIT 1;
-- name: set_quota
UPDATE volume SET quota = ? WHERE id = ?;
-- name: everything
SELECT id, environment, name, kind, head, created_at, created_by, beat_at, quota FROM volume ORDER BY environment, name, id;
-- name: stacks
SELECT volume, n, layers FROM volume_version;
-- name: set_pack
UPDATE volume_layer SET pack = ? WHERE id = ?;
-- name: unpacked
SELECT id FROM volume_layer WHERE pack IS NULL ORDER BY id;
-- name: layer_sizes
SELECT id, size FROM volume_layer;
