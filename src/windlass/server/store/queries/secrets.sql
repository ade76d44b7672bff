-- name: insert
INSERT OR IGNORE INTO secret (id, name, app, keys, env, created_at) VALUES (?, ?, ?, ?, ?, ?);
-- name: by_id
SELECT name, keys, env FROM secret WHERE id = ?;
-- name: forget_app
DELETE FROM secret WHERE app = ? AND name IS NULL;
-- name: forget_unused
DELETE FROM secret
WHERE name IS NULL AND app IS NOT NULL AND created_at < ?
  AND (app NOT IN (SELECT id FROM app) OR app IN (SELECT id FROM app WHERE state = 3))
  AND id NOT IN (SELECT j.value FROM spec s, json_each(s.spec, '$.secrets') j)
  AND id NOT IN (SELECT j.value FROM function f, json_each(f.spec, '$.secrets') j);
