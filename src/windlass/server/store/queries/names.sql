-- name: publish
INSERT OR REPLACE INTO image_name (environment, name, tag, image, published_at) VALUES (?, ?, ?, ?, ?);
-- name: find
SELECT image FROM image_name WHERE environment = ? AND name = ? AND tag = ?;
-- name: all
SELECT environment, name, tag, image, published_at FROM image_name ORDER BY environment, name, tag;
