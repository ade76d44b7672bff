-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM log;
-- name: insert
INSERT INTO log (n, app, function, container, call, input, time, source, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: after
SELECT l.n, l.time, l.source, l.text, f.id, k.id, l.call, l.input
FROM log l
LEFT JOIN function f ON f.n = l.function
LEFT JOIN container k ON k.n = l.container
WHERE l.app = :app AND l.n > :after
  AND (:container IS NULL OR k.id = :container)
  AND (:function IS NULL OR l.function IN (SELECT n FROM function WHERE id = :function
    OR variant_of = (SELECT n FROM function WHERE id = :function)))
  AND (:call IS NULL OR l.call = :call)
  AND (:source IS NULL OR l.source = :source)
  AND (:search IS NULL OR instr(l.text, :search) > 0)
  AND (:since IS NULL OR l.time >= :since)
  AND (:until IS NULL OR l.time <= :until)
ORDER BY l.n LIMIT :limit;
-- name: tail_begin
SELECT coalesce(min(n), 1) - 1 FROM (
    SELECT l.n AS n
    FROM log l
    LEFT JOIN container k ON k.n = l.container
    WHERE l.app = :app
      AND (:container IS NULL OR k.id = :container)
      AND (:function IS NULL OR l.function IN (SELECT n FROM function WHERE id = :function
        OR variant_of = (SELECT n FROM function WHERE id = :function)))
      AND (:call IS NULL OR l.call = :call)
      AND (:source IS NULL OR l.source = :source)
      AND (:search IS NULL OR instr(l.text, :search) > 0)
      AND (:since IS NULL OR l.time >= :since)
      AND (:until IS NULL OR l.time <= :until)
    ORDER BY l.n DESC LIMIT :tail
);
-- name: delete_old
DELETE FROM log WHERE n IN (SELECT n FROM (SELECT n, time FROM log ORDER BY n LIMIT 5000) WHERE time < ?);
-- name: last_of_container
SELECT text FROM log WHERE app = ? AND container = ? AND source != 'system' ORDER BY n DESC LIMIT ?;
-- name: last_n
SELECT coalesce(max(n), 0) FROM log WHERE app = ?;
