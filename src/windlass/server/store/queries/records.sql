-- name: insert
INSERT INTO record (call, idx, attempt, function, method, kind, outcome, final, container, queue, start, run, cpu, peak,
    ended_at, reason, size, blob, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: listed
SELECT r.call, r.idx, r.attempt, a.id, a.name, a.description, f.id, f.tag, r.method, r.kind, r.outcome, r.final, k.id,
    k.exit, r.queue, r.start, r.run, r.cpu, r.peak, r.ended_at, r.reason, r.size
FROM record r LEFT JOIN function f ON f.n = r.function LEFT JOIN app a ON a.n = f.app
    LEFT JOIN container k ON k.n = r.container
WHERE (:function IS NULL OR r.function IN (SELECT n FROM function WHERE n = :function OR variant_of = :function))
  AND (:app IS NULL OR f.app = :app)
  AND (:environment IS NULL OR a.environment = :environment)
  AND (NOT :failed OR r.outcome NOT IN (0, 3))
ORDER BY r.n DESC LIMIT :limit;
-- name: of_call
SELECT r.call, r.idx, r.attempt, a.id, a.name, a.description, f.id, f.tag, r.method, r.kind, r.outcome, r.final, k.id,
    k.exit, r.queue, r.start, r.run, r.cpu, r.peak, r.ended_at, r.reason, r.size
FROM record r LEFT JOIN function f ON f.n = r.function LEFT JOIN app a ON a.n = f.app
    LEFT JOIN container k ON k.n = r.container
WHERE r.call = :call ORDER BY r.idx, r.n LIMIT :limit;
-- name: last_of_input
SELECT r.function, r.method, r.kind, r.outcome, r.size, r.blob, r.payload, coalesce(k.created_at, r.ended_at)
FROM record r LEFT JOIN container k ON k.n = r.container WHERE r.call = ? AND r.idx = ? ORDER BY r.n DESC LIMIT 1;
-- name: function_of_call
SELECT function FROM record WHERE call = ? LIMIT 1;
-- name: minute
SELECT figures FROM minute WHERE function = ? AND minute = ?;
-- name: put_minute
INSERT OR REPLACE INTO minute (function, minute, figures) VALUES (?, ?, ?);
-- name: minutes
SELECT m.figures FROM minute m
WHERE m.function IN (SELECT n FROM function WHERE n = :function OR (:variants AND variant_of = :function) OR app = :app)
  AND m.minute BETWEEN :since AND :until;
-- name: starts
SELECT created_at, made_at, started_at, phases FROM container
WHERE function IN (SELECT n FROM function WHERE n = :function OR (:variants AND variant_of = :function) OR app = :app)
  AND created_at BETWEEN :since AND :until ORDER BY n DESC LIMIT 10000;
-- name: delete_old
DELETE FROM record WHERE n IN (
    SELECT n FROM (SELECT n, ended_at FROM record ORDER BY n LIMIT :limit) WHERE ended_at < :before
);
-- name: old_blobs
SELECT DISTINCT blob FROM (SELECT blob, ended_at FROM record ORDER BY n LIMIT :limit)
WHERE blob IS NOT NULL AND ended_at < :before;
-- name: behind
SELECT n FROM record ORDER BY n DESC LIMIT 1 OFFSET :most;
-- name: delete_to
DELETE FROM record WHERE n <= ?;
-- name: blobs_to
SELECT DISTINCT blob FROM record WHERE n <= ? AND blob IS NOT NULL;
-- name: kept_bytes
SELECT coalesce(sum(size), 0) FROM record WHERE size > 0;
-- name: kept
SELECT n, size FROM record WHERE size > 0 ORDER BY n DESC;
-- name: drop_payloads
UPDATE record SET size = 0, blob = NULL, payload = NULL WHERE n <= ? AND size > 0;
-- name: delete_minutes
DELETE FROM minute WHERE minute < ?;
-- name: delete_of_app
DELETE FROM record WHERE function IN (SELECT n FROM function WHERE app = ?);
-- name: blobs_of_app
SELECT DISTINCT blob FROM record WHERE function IN (SELECT n FROM function WHERE app = ?) AND blob IS NOT NULL;
-- name: delete_minutes_of_app
DELETE FROM minute WHERE function IN (SELECT n FROM function WHERE app = ?);
