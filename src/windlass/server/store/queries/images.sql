-- name: current
SELECT i.id, i.meta FROM image_current c JOIN image i ON i.id = c.id WHERE c.key = ?;
-- name: by_id
SELECT id, key, parent, recipe, meta, built_at, used_at FROM image WHERE id = ?;
-- name: all
SELECT id, key, parent, recipe, meta, built_at, used_at FROM image;
-- name: insert
INSERT OR REPLACE INTO image (id, key, parent, recipe, meta, built_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?);
-- name: make_current
INSERT OR REPLACE INTO image_current (key, id) VALUES (?, ?);
-- name: used
UPDATE image SET used_at = ? WHERE id = ?;
