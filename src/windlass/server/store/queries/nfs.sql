-- name: by_id
SELECT id, environment, name, created_at, created_by, beat_at FROM nfs WHERE id = ?;
-- name: by_name
SELECT id, environment, name, created_at, created_by, beat_at FROM nfs WHERE environment = ? AND name = ?;
-- name: named
SELECT id, environment, name, created_at, created_by, beat_at FROM nfs
WHERE environment = ? AND name IS NOT NULL ORDER BY created_at DESC, name;
-- name: silent
SELECT id, environment, name, created_at, created_by, beat_at FROM nfs WHERE name IS NULL AND beat_at < ?;
-- name: insert
INSERT INTO nfs (id, environment, name, created_at, created_by, beat_at) VALUES (?, ?, ?, ?, ?, ?);
-- name: beat
UPDATE nfs SET beat_at = ? WHERE id = ?;
-- name: delete
DELETE FROM nfs WHERE id = ?;
-- name: delete_environment
DELETE FROM nfs WHERE environment = ?;
-- name: rename_environment
UPDATE nfs SET environment = :new WHERE environment = :old;
-- name: everything
SELECT id, environment, name, created_at, created_by, beat_at FROM nfs ORDER BY environment, name, id;
