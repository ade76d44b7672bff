-- name: begin
INSERT OR REPLACE INTO image_build (image, parent, command, started_at) VALUES (?, ?, ?, ?);
-- name: finish
UPDATE image_build SET ended_at = ?, error = ? WHERE image = ?;
-- name: interrupt
UPDATE image_build SET ended_at = :now, error = :error WHERE ended_at IS NULL;
-- name: any_running
SELECT 1 FROM image_build WHERE ended_at IS NULL LIMIT 1;
-- name: by_image
SELECT parent, command, started_at, ended_at, error, left_out FROM image_build WHERE image = ?;
-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM image_log;
-- name: insert
INSERT INTO image_log (n, image, time, text) VALUES (?, ?, ?, ?);
-- name: replace
UPDATE image_log SET text = ? WHERE n = ?;
-- name: delete_piece
DELETE FROM image_log WHERE n = ?;
-- name: left_out
UPDATE image_build SET left_out = ? WHERE image = ?;
-- name: after
SELECT n, time, text FROM image_log WHERE image = ? AND n > ? ORDER BY n LIMIT ?;
-- name: last
SELECT text FROM image_log WHERE image = ? ORDER BY n DESC LIMIT ?;
-- name: delete
DELETE FROM image_build WHERE image = ?;
-- name: delete_log
DELETE FROM image_log WHERE image = ?;
-- name: old
SELECT image FROM image_build WHERE ended_at < ? LIMIT ?;
