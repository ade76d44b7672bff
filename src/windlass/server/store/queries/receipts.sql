-- name: find
SELECT answer, size, blob, value FROM receipt WHERE client = ? AND op = ?;
-- name: highest
SELECT coalesce(max(op), 0) FROM receipt WHERE client = ?;
-- name: insert
INSERT INTO receipt (client, op, at, answer, size, blob, value) VALUES (?, ?, ?, ?, ?, ?, ?);
-- name: seen_blobs
SELECT blob FROM receipt WHERE client = ? AND op < ? AND blob IS NOT NULL;
-- name: forget_seen
DELETE FROM receipt WHERE client = ? AND op < ?;
-- name: old_blobs
SELECT blob FROM receipt WHERE at < ? AND blob IS NOT NULL;
-- name: forget_old
DELETE FROM receipt WHERE at < ?;
