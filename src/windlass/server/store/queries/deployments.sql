-- name: insert_spec
INSERT OR REPLACE INTO spec (function, generation, spec) VALUES (?, ?, ?);
-- name: spec
SELECT spec FROM spec WHERE function = ? AND generation = ?;
-- name: insert
INSERT INTO deployment (app, version, deploy_id, deployed_at, layout, facts) VALUES (?, ?, ?, ?, ?, ?);
-- name: by_version
SELECT version, deploy_id, deployed_at, layout, facts FROM deployment WHERE app = ? AND version = ?;
-- name: at
SELECT version, deploy_id, deployed_at, layout, facts FROM deployment WHERE app = ? AND deployed_at <= ?
ORDER BY version DESC LIMIT 1;
-- name: history
SELECT version, deployed_at FROM deployment WHERE app = ? ORDER BY version DESC;
-- name: delete
DELETE FROM deployment WHERE app = ? AND version = ?;
-- name: spec_keys
SELECT s.function, s.generation FROM spec s JOIN function f ON f.n = s.function WHERE f.app = ?;
-- name: delete_spec
DELETE FROM spec WHERE function = ? AND generation = ?;
-- name: of_app
SELECT version, deploy_id, deployed_at, layout, facts FROM deployment WHERE app = ? ORDER BY version DESC;
-- name: forget
DELETE FROM deployment WHERE app = ?;
-- name: forget_specs
DELETE FROM spec WHERE function IN (SELECT n FROM function WHERE app = ?);
-- name: images
SELECT DISTINCT json_extract(s.spec, '$.image_id')
FROM spec s JOIN function f ON f.n = s.function JOIN app a ON a.n = f.app WHERE a.stopped_at IS NULL;
-- name: function_changed
UPDATE function SET spec = ?, generation = ?, removed = ?, autoscaler = NULL WHERE n = ?;
-- name: app_changed
UPDATE app SET version = ?, local_name = ?, tags = ? WHERE n = ?;
-- name: pinned
SELECT id FROM function WHERE app = ? AND tag = ? AND pin = ? AND NOT removed;
-- name: pin
UPDATE function SET pin = ? WHERE n = ?;
