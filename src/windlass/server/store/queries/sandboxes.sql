-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM sandbox;
-- name: insert
INSERT INTO sandbox (n, id, app, name, tags, spec, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: update
UPDATE sandbox SET state = ?, container = ?, started_at = ?, ready_at = ?, ended_at = ?, code = ?, why = ?, message = ?
WHERE n = ?;
-- name: move
UPDATE sandbox SET created_at = created_at + :by, started_at = started_at + :by, ready_at = ready_at + :by WHERE state < 3;
-- name: tags
UPDATE sandbox SET tags = ? WHERE n = ?;
-- name: living
SELECT s.n, s.id, a.id, s.name, s.tags, s.spec, s.state, s.container, s.created_at, s.started_at, s.ready_at, s.ended_at,
    s.code, s.why, s.message, k.id, k.node
FROM sandbox s JOIN app a ON a.n = s.app LEFT JOIN container k ON k.n = s.container WHERE s.state < 3 ORDER BY s.n;
-- name: by_id
SELECT s.n, s.id, a.id, s.name, s.tags, s.spec, s.state, s.container, s.created_at, s.started_at, s.ready_at, s.ended_at,
    s.code, s.why, s.message, k.id, k.node
FROM sandbox s JOIN app a ON a.n = s.app LEFT JOIN container k ON k.n = s.container WHERE s.id = ?;
-- name: by_name
SELECT s.n, s.id, a.id, s.name, s.tags, s.spec, s.state, s.container, s.created_at, s.started_at, s.ready_at, s.ended_at,
    s.code, s.why, s.message, k.id, k.node
FROM sandbox s JOIN app a ON a.n = s.app LEFT JOIN container k ON k.n = s.container
WHERE a.id = ? AND s.name = ? ORDER BY s.state >= 3, s.n DESC LIMIT 1;
-- name: listed
SELECT s.n, s.id, a.id, s.name, s.tags, s.spec, s.state, s.container, s.created_at, s.started_at, s.ready_at, s.ended_at,
    s.code, s.why, s.message, k.id, k.node
FROM sandbox s JOIN app a ON a.n = s.app LEFT JOIN container k ON k.n = s.container
WHERE (:app IS NULL OR a.id = :app) AND (:environment IS NULL OR a.environment = :environment)
  AND (:ended OR s.state < 3) AND (:before IS NULL OR s.n < (SELECT n FROM sandbox WHERE id = :before))
ORDER BY s.n DESC LIMIT :limit;
-- name: forget
DELETE FROM sandbox WHERE n IN (SELECT n FROM sandbox WHERE ended_at < ? LIMIT 1000);
-- name: insert_snapshot
INSERT OR REPLACE INTO snapshot (image, expires_at) VALUES (?, ?);
-- name: snapshot_expired
SELECT 1 FROM snapshot WHERE image = ? AND expires_at < ?;
-- name: snapshots_kept
SELECT image FROM snapshot WHERE expires_at IS NULL OR expires_at >= ?;
-- name: ports
SELECT port, host, number, raw FROM sandbox_port WHERE sandbox = ? ORDER BY port;
-- name: put_port
INSERT OR REPLACE INTO sandbox_port (sandbox, port, host, number, raw) VALUES (?, ?, ?, ?, ?);
-- name: forget_ports
DELETE FROM sandbox_port WHERE sandbox = ?;
-- name: created
SELECT count(*) FROM sandbox s JOIN app a ON a.n = s.app
WHERE a.id = :app AND s.created_at >= :since AND s.created_at < :until;
-- name: ended
SELECT s.why, count(*) FROM sandbox s JOIN app a ON a.n = s.app
WHERE a.id = :app AND s.ended_at >= :since AND s.ended_at < :until GROUP BY s.why;
-- name: starts
SELECT s.started_at - s.created_at FROM sandbox s JOIN app a ON a.n = s.app
WHERE a.id = :app AND s.created_at >= :since AND s.created_at < :until AND s.started_at IS NOT NULL
ORDER BY s.n DESC LIMIT 10000;
-- name: insert_memory
INSERT INTO sandbox_memory (id, image, app, name, tags, spec, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: memory_by_id
SELECT m.id, m.image, a.id, m.name, m.tags, m.spec, m.created_at, m.expires_at
FROM sandbox_memory m JOIN app a ON a.n = m.app WHERE m.id = ?;
-- name: forget_memories
DELETE FROM sandbox_memory WHERE id IN (SELECT id FROM sandbox_memory WHERE expires_at < ? LIMIT 1000);
