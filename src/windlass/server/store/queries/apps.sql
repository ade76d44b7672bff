-- name: insert
INSERT INTO app (n, id, name, local_name, environment, description, state, client, tags, created_at, dev_suffix)
VALUES (:n, :id, :name, :local_name, :environment, :description, :state, :client, :tags, :created_at, :dev_suffix);
-- name: next_n
SELECT coalesce(max(n), 0) + 1 FROM app;
-- name: publish
UPDATE app SET published = 1, layout = ?, state = ? WHERE n = ?;
-- name: drain
UPDATE app SET draining = 1 WHERE n = ?;
-- name: stopping
UPDATE app SET state = 4, reason = ?, message = ? WHERE n = ?;
-- name: stopped
UPDATE app SET state = 5, stopped_at = ? WHERE n = ?;
-- name: live
SELECT n, id, name, environment, description, state, client, published, layout, draining, created_at, reason, message,
    version, local_name, dev_suffix
FROM app WHERE stopped_at IS NULL;
-- name: by_id
SELECT n, id, name, environment, description, state, layout, created_at, stopped_at, version, tags FROM app WHERE id = ?;
-- name: by_container
SELECT n, id, name, environment, description, state, layout, created_at, stopped_at, version, tags FROM app
WHERE n = (SELECT app FROM container WHERE id = ?);
-- name: by_name
SELECT n, id, name, environment, description, state, layout, created_at, stopped_at, version, tags FROM app
WHERE name = :name AND environment = :environment AND (:any OR state = 3) ORDER BY stopped_at IS NOT NULL, n DESC LIMIT 1;
-- name: list
SELECT n, id, name, environment, description, state, layout, created_at, stopped_at, version, tags FROM app
WHERE :environment IS NULL OR environment = :environment
ORDER BY stopped_at IS NOT NULL, n DESC LIMIT :limit;
-- name: expired
SELECT n FROM app
WHERE stopped_at < ? OR (stopped_at IS NOT NULL AND environment NOT IN (SELECT name FROM environment)) LIMIT 10;
-- name: delete
DELETE FROM app WHERE n = ?;
-- name: delete_functions
DELETE FROM function WHERE app = ?;
-- name: delete_containers
DELETE FROM container WHERE app = ?;
-- name: delete_logs
DELETE FROM log WHERE n IN (SELECT n FROM log WHERE app = ? LIMIT 20000);
-- name: insert_function
INSERT INTO function (n, id, app, tag, spec, variant_of, variant_key, parameters, overrides)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: next_function
SELECT coalesce(max(n), 0) + 1 FROM function;
-- name: functions_of_live
SELECT f.n, f.id, a.id, f.spec, f.autoscaler, f.generation, f.removed, f.pin, f.variant_of, f.variant_key, f.parameters,
    f.overrides
FROM function f JOIN app a ON a.n = f.app WHERE a.stopped_at IS NULL ORDER BY f.n;
-- name: function_by_id
SELECT f.n, f.id, a.id, f.tag, f.spec FROM function f JOIN app a ON a.n = f.app WHERE f.id = ?;
-- name: function_by_n
SELECT f.n, f.id, a.id, f.tag, f.spec FROM function f JOIN app a ON a.n = f.app WHERE f.n = ?;
-- name: function_past
SELECT f.n, f.id, a.id, a.n, a.name, a.description, a.environment, a.layout, f.tag, f.spec, b.id, b.tag, f.parameters,
    f.overrides, a.version, coalesce(f.pin, b.pin)
FROM function f JOIN app a ON a.n = f.app LEFT JOIN function b ON b.n = f.variant_of WHERE f.n = ?;
-- name: specs_of_app
SELECT id, tag, spec FROM function WHERE app = ? AND variant_of IS NULL ORDER BY n;
-- name: variants_of
SELECT id FROM function WHERE variant_of = ? ORDER BY n LIMIT 1000;
-- name: autoscaler
UPDATE function SET autoscaler = ? WHERE n = ?;
-- name: set_tags
UPDATE app SET tags = ? WHERE n = ?;
