-- name: insert
INSERT OR IGNORE INTO secret (id, name, app, keys, env, created_at) VALUES (?, ?, ?, ?, ?, ?);
-- name: by_id
SELECT name, keys, env FROM secret WHERE id = ?;
-- name: forget_app
DELETE FROM secret WHERE app = ? AND name IS NULL;
