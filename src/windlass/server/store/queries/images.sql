-- name: current
SELECT i.id, i.meta FROM image_current c JOIN image i ON i.id = c.id WHERE c.key = ?;
-- name: by_id
SELECT id, key, parent, recipe, meta, built_at, used_at FROM image WHERE id = ?;
-- name: all
SELECT id, key, parent, recipe, meta, built_at, used_at FROM image;
-- name: step
SELECT parent, recipe FROM image WHERE id = ?;
-- name: insert
INSERT OR REPLACE INTO image (id, key, parent, recipe, meta, built_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?);
-- name: make_current
INSERT OR REPLACE INTO image_current (key, id) VALUES (?, ?);
-- name: used
UPDATE image SET used_at = ? WHERE id = ?;
-- name: forget
DELETE FROM image WHERE id = ?;
-- name: forget_current
DELETE FROM image_current WHERE id = ?;
