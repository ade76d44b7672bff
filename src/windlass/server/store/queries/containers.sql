-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM container;
-- name: insert
INSERT INTO container (n, id, function, app, node, state, created_at, generation, gpus, cluster, rank)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: update
UPDATE container SET state = ?, want = ?, started_at = ?, made_at = ?, phases = ? WHERE n = ?;
-- name: move
UPDATE container SET created_at = created_at + :by, started_at = started_at + :by, made_at = made_at + :by WHERE state < 5;
-- name: gone
UPDATE container SET state = 5, gone_at = ?, exit = ? WHERE n = ?;
-- name: log_offset
UPDATE container SET log_offset = ? WHERE n = ?;
-- name: alive
SELECT n, id, function, node, state, want, created_at, started_at, log_offset, made_at, phases, generation, gpus, cluster, rank
FROM container WHERE state < 5;
-- name: by_id
SELECT n, app, function, state, log_offset FROM container WHERE id = ?;
