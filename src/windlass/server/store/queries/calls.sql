-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM call;
-- name: insert
INSERT INTO call (n, id, function, method, kind, client, parent, closed, cancelled, created_at, done_at, num_inputs)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: closed
UPDATE call SET closed = 1 WHERE n = ?;
-- name: cancelled
UPDATE call SET cancelled = 1, closed = 1 WHERE n = ?;
-- name: done
UPDATE call SET done_at = ?, num_inputs = ? WHERE n = ?;
-- name: by_part
SELECT n, id, function, method, kind, client, parent, closed, cancelled, created_at, done_at, num_inputs FROM call
WHERE substr(id, 4, 16) = ?;
-- name: is_known
SELECT 1 FROM call WHERE substr(id, 4, 16) = ? UNION ALL SELECT 1 FROM record WHERE call = ? LIMIT 1;
-- name: by_n
SELECT n, id, function, method, kind, client, parent, closed, cancelled, created_at, done_at, num_inputs FROM call
WHERE n = ?;
-- name: counts
SELECT count(*), coalesce(sum(state = 2), 0), coalesce(max(key) & 1073741823, -1) FROM input
WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: last_output
SELECT coalesce(max(key) & 1073741823, 0) FROM output WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: count_items
SELECT count(*) FROM output WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823 AND status = 6;
-- name: open_of_client
SELECT n FROM call WHERE client = ? AND done_at IS NULL AND kind != 2 AND NOT cancelled;
-- name: open_clients
SELECT DISTINCT client FROM call WHERE done_at IS NULL AND client IS NOT NULL;
-- name: open_and_cancelled
SELECT n FROM call WHERE function = ? AND done_at IS NULL AND cancelled;
-- name: cancel_all
UPDATE call SET cancelled = 1, closed = 1 WHERE function = ? AND done_at IS NULL;
-- name: any_open
SELECT 1 FROM call WHERE function = ? AND done_at IS NULL LIMIT 1;
-- name: unfinished
SELECT n FROM call WHERE done_at IS NULL AND cancelled LIMIT 20000;
-- name: expired
SELECT n FROM call WHERE done_at < :before AND (kind != 2) = :sync LIMIT 500;
-- name: remember_expired
INSERT OR IGNORE INTO expired (id, at) SELECT id, :now FROM call WHERE n = :call AND kind = 2;
-- name: is_expired
SELECT 1 FROM expired WHERE id = ?;
-- name: forget_expired
DELETE FROM expired WHERE at < ?;
-- name: delete
DELETE FROM call WHERE n = ?;
-- name: delete_inputs
DELETE FROM input WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: delete_large
DELETE FROM large WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: delete_outputs
DELETE FROM output WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: delete_items
DELETE FROM output WHERE key BETWEEN :call << 30 AND :call << 30 | :seq AND status = 6;
-- name: blobs
SELECT blob FROM input WHERE blob IS NOT NULL AND key BETWEEN :call << 30 AND :call << 30 | 1073741823
UNION SELECT blob FROM output WHERE blob IS NOT NULL AND key BETWEEN :call << 30 AND :call << 30 | 1073741823;
-- name: blob_used
SELECT 1 FROM input WHERE blob = :blob UNION ALL SELECT 1 FROM output WHERE blob = :blob
UNION ALL SELECT 1 FROM record WHERE blob = :blob UNION ALL SELECT 1 FROM dict_entry WHERE blob = :blob
UNION ALL SELECT 1 FROM receipt WHERE blob = :blob LIMIT 1;
-- name: children
SELECT n FROM call WHERE parent BETWEEN :call << 30 AND :call << 30 | 1073741823 LIMIT :limit;
-- name: graph
SELECT i.key, i.state, i.status, k.id FROM input i LEFT JOIN container k ON k.n = i.container
WHERE i.key BETWEEN :call << 30 AND :call << 30 | 1073741823 ORDER BY i.key LIMIT :limit;
