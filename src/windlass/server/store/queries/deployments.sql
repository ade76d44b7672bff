-- name: insert_spec
INSERT OR REPLACE INTO spec (function, generation, spec) VALUES (?, ?, ?);
-- name: spec
SELECT spec FROM spec WHERE function = ? AND generation = ?;
-- name: insert
INSERT INTO deployment (app, version, deploy_id, deployed_at, layout, facts) VALUES (?, ?, ?, ?, ?, ?);
-- name: by_version
SELECT version, deploy_id, deployed_at, layout, facts FROM deployment WHERE app = ? AND version = ?;
-- name: of_app
SELECT version, deploy_id, deployed_at, layout, facts FROM deployment WHERE app = ? ORDER BY version DESC;
-- name: forget
DELETE FROM deployment WHERE app = ?;
-- name: forget_specs
DELETE FROM spec WHERE function IN (SELECT n FROM function WHERE app = ?);
-- name: function_changed
UPDATE function SET spec = ?, generation = ?, removed = ?, autoscaler = NULL WHERE n = ?;
-- name: app_changed
UPDATE app SET version = ?, local_name = ?, tags = ? WHERE n = ?;
-- name: pinned
SELECT id FROM function WHERE app = ? AND tag = ? AND pin = ?;
-- name: pin
UPDATE function SET pin = ? WHERE n = ?;
