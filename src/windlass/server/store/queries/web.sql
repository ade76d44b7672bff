-- name: tokens
SELECT id, name, digest, environments, created_at, created_by FROM proxy_token ORDER BY created_at DESC, id;
-- name: insert_token
INSERT INTO proxy_token (id, name, digest, environments, created_at, created_by)
VALUES (:id, :name, :digest, :environments, :created_at, :created_by);
-- name: delete_token
DELETE FROM proxy_token WHERE id = ?;
-- name: domains
SELECT name, created_at FROM web_domain ORDER BY name;
-- name: insert_domain
INSERT OR IGNORE INTO web_domain (name, created_at) VALUES (?, ?);
-- name: delete_domain
DELETE FROM web_domain WHERE name = ?;
