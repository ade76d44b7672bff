-- name: insert
INSERT OR IGNORE INTO secret (id, name, app, keys, env, created_at, environment, created_by)
VALUES (:id, :name, :app, :keys, :env, :now, :environment, :by);
-- name: by_id
SELECT id, name, environment, keys, env, created_at, created_by, used_at FROM secret WHERE id = ?;
-- name: environment
SELECT coalesce(nullif(environment, ''), (SELECT environment FROM app WHERE app.id = secret.app)) FROM secret WHERE id = ?;
-- name: by_name
SELECT id, name, environment, keys, env, created_at, created_by, used_at FROM secret WHERE environment = ? AND name = ?;
-- name: listed
SELECT id, name, environment, keys, env, created_at, created_by, used_at FROM secret
WHERE environment = :environment AND name IS NOT NULL AND created_at < :before ORDER BY created_at DESC, name LIMIT :limit;
-- name: change
UPDATE secret SET keys = ?, env = ? WHERE id = ?;
-- name: used
UPDATE secret SET used_at = ? WHERE id = ?;
-- name: delete
DELETE FROM secret WHERE id = ?;
-- name: rename_environment
UPDATE secret SET environment = :new WHERE environment = :old AND name IS NOT NULL;
-- name: delete_environment
DELETE FROM secret WHERE environment = ? AND name IS NOT NULL;
-- name: forget_app
DELETE FROM secret WHERE app = ? AND name IS NULL;
-- name: forget_unused
DELETE FROM secret
WHERE name IS NULL AND app IS NOT NULL AND created_at < ?
  AND (app NOT IN (SELECT id FROM app) OR app IN (SELECT id FROM app WHERE state = 3))
  AND id NOT IN (SELECT j.value FROM spec s, json_each(s.spec, '$.secrets') j)
  AND id NOT IN (SELECT j.value FROM function f, json_each(f.spec, '$.secrets') j);
