-- name: insert
INSERT INTO collection (id, kind, name, environment, client, content, created_at, created_by)
VALUES (:id, :kind, :name, :environment, :client, :content, :created_at, :created_by);
-- name: by_id
SELECT id, kind, name, environment, client, content, created_at, created_by FROM collection WHERE id = ?;
-- name: by_name
SELECT id, kind, name, environment, client, content, created_at, created_by FROM collection
WHERE kind = ? AND environment = ? AND name = ?;
-- name: listed
SELECT id, kind, name, environment, client, content, created_at, created_by FROM collection
WHERE kind = :kind AND environment = :environment AND name IS NOT NULL AND created_at < :before
ORDER BY created_at DESC, name LIMIT :limit;
-- name: of_environment
SELECT id, kind, name, environment, client, content, created_at, created_by FROM collection WHERE environment = ?;
-- name: of_client
SELECT id, kind, name, environment, client, content, created_at, created_by FROM collection WHERE client = ?;
-- name: clients
SELECT DISTINCT client FROM collection WHERE client IS NOT NULL;
-- name: delete
DELETE FROM collection WHERE id = ?;
-- name: set_content
UPDATE collection SET content = ? WHERE id = ?;
-- name: rename_environment
UPDATE collection SET environment = :new WHERE environment = :old;
-- name: new_content
INSERT INTO content (kind) VALUES (?);
-- name: drop_content
UPDATE content SET dropped = 1 WHERE n = ?;
-- name: dropped
SELECT n, kind FROM content WHERE dropped = 1 ORDER BY n LIMIT 1;
-- name: forget_content
DELETE FROM content WHERE n = ?;
