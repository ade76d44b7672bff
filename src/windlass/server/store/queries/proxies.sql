-- name: by_id
SELECT id, environment, name, addresses, created_at, created_by FROM proxies WHERE id = ?;
-- name: by_name
SELECT id, environment, name, addresses, created_at, created_by FROM proxies WHERE environment = ? AND name = ?;
-- name: named
SELECT id, environment, name, addresses, created_at, created_by FROM proxies
WHERE environment = ? ORDER BY created_at DESC, name;
-- name: insert
INSERT INTO proxies (id, environment, name, addresses, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?);
-- name: delete
DELETE FROM proxies WHERE id = ?;
-- name: delete_environment
DELETE FROM proxies WHERE environment = ?;
-- name: rename_environment
UPDATE proxies SET environment = :new WHERE environment = :old;
