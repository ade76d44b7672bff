-- name: insert
INSERT OR IGNORE INTO input (key, function, state, attempt, container, size, blob, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: insert_done
INSERT OR IGNORE INTO input (key, function, state, attempt, container, status, seq, size, blob) VALUES (?, ?, 2, ?, ?, ?, ?, ?, ?);
-- name: insert_large
INSERT OR IGNORE INTO large (key, payload) VALUES (?, ?);
-- name: update
UPDATE input SET state = ?, attempt = ?, retries = ?, crashes = ?, container = ?, not_before = ? WHERE key = ?;
-- name: done
UPDATE input SET state = 2, status = ?, seq = ?, payload = NULL WHERE key = ?;
-- name: large
SELECT payload FROM large WHERE key = ?;
-- name: delete_large
DELETE FROM large WHERE key = ?;
-- name: waiting
SELECT size, blob, coalesce(payload, (SELECT payload FROM large WHERE key = :key)) FROM input
WHERE key = :key AND state != 2;
-- name: exists
SELECT 1 FROM input WHERE key = ?;
-- name: ready
SELECT key, attempt, retries, crashes, size, blob, payload FROM input WHERE function = ? AND state = 0 ORDER BY key LIMIT ?;
-- name: ready_of_call
SELECT key, attempt, retries, crashes FROM input
WHERE key BETWEEN :call << 30 AND :call << 30 | 1073741823 AND state = 0 LIMIT :limit;
-- name: count_ready
SELECT count(*) FROM input WHERE function = ? AND state = 0;
-- name: counts_ready
SELECT function, count(*) FROM input WHERE state = 0 GROUP BY function;
-- name: counts_open
SELECT c.function, c.kind = 2, count(*) FROM call c
JOIN input i ON i.key BETWEEN c.n << 30 AND c.n << 30 | 1073741823
WHERE c.done_at IS NULL AND i.state != 2 GROUP BY 1, 2;
-- name: held
SELECT key, state, attempt, retries, crashes, container, not_before, size, blob, payload FROM input WHERE state IN (1, 3) ORDER BY key;
-- name: output_seq
SELECT state, seq FROM input WHERE key = ?;
-- name: status
SELECT state, status FROM input WHERE key = ?;
-- name: insert_output
INSERT INTO output (key, idx, status, retries, size, blob, body, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: outputs_after
SELECT key & 1073741823, idx, status, retries, body, data, blob, size FROM output
WHERE key > :call << 30 | :after AND key <= :call << 30 | 1073741823 ORDER BY key LIMIT :limit;
-- name: output
SELECT key & 1073741823, idx, status, retries, body, data, blob, size FROM output WHERE key = ?;
