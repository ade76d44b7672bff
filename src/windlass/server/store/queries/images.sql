-- name: current
SELECT i.id, i.meta FROM image_current c JOIN image i ON i.id = c.id WHERE c.key = ?;
-- name: by_id
SELECT key, parent, recipe, meta FROM image WHERE id = ?;
-- name: step
SELECT parent, recipe FROM image WHERE id = ?;
-- name: insert
INSERT OR REPLACE INTO image (id, key, parent, recipe, meta, built_at) VALUES (?, ?, ?, ?, ?, ?);
-- name: make_current
INSERT OR REPLACE INTO image_current (key, id) VALUES (?, ?);
