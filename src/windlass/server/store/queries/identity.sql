-- name: principals
SELECT id, name, kind, created_at, created_by, used_at FROM principal ORDER BY created_at, name;
-- name: principal
SELECT id, name, kind, created_at, created_by, used_at FROM principal WHERE id = ?;
-- name: principal_named
SELECT id, name, kind, created_at, created_by, used_at FROM principal WHERE name = ?;
-- name: insert_principal
INSERT INTO principal (id, name, kind, created_at, created_by, used_at)
VALUES (:id, :name, :kind, :created_at, :created_by, :used_at);
-- name: set_kind
UPDATE principal SET kind = ? WHERE id = ?;
-- name: delete_principal
DELETE FROM principal WHERE id = ?;
-- name: delete_roles_of
DELETE FROM environment_role WHERE principal = ?;
-- name: delete_tokens_of
DELETE FROM token WHERE principal = ?;
-- name: tokens
SELECT id, principal, salt, digest, old_digest, old_until, environments, created_at, created_by, expires_at, used_at,
    revoked_at
FROM token ORDER BY created_at DESC, id;
-- name: token
SELECT id, principal, salt, digest, old_digest, old_until, environments, created_at, created_by, expires_at, used_at,
    revoked_at
FROM token WHERE id = ?;
-- name: insert_token
INSERT INTO token (id, principal, salt, digest, old_digest, old_until, environments, created_at, created_by, expires_at,
    used_at, revoked_at)
VALUES (:id, :principal, :salt, :digest, :old_digest, :old_until, :environments, :created_at, :created_by, :expires_at,
    :used_at, :revoked_at);
-- name: rotate
UPDATE token SET salt = :salt, digest = :digest, old_digest = :old_digest, old_until = :old_until,
    expires_at = :expires_at
WHERE id = :id;
-- name: revoke
UPDATE token SET revoked_at = ? WHERE id = ?;
-- name: token_used
UPDATE token SET used_at = ? WHERE id = ?;
-- name: principal_used
UPDATE principal SET used_at = ? WHERE id = ?;
-- name: forget_tokens
DELETE FROM token WHERE coalesce(revoked_at, expires_at) < ?;
-- name: roles
SELECT environment, principal, role FROM environment_role;
-- name: set_role
INSERT OR REPLACE INTO environment_role (environment, principal, role) VALUES (?, ?, ?);
-- name: delete_role
DELETE FROM environment_role WHERE environment = ? AND principal = ?;
-- name: delete_roles_in
DELETE FROM environment_role WHERE environment = ?;
-- name: insert_audit
INSERT INTO audit (at, principal, name, action, target, environment, source, outcome)
VALUES (:at, :principal, :name, :action, :target, :environment, :source, :outcome);
-- name: audit
SELECT at, principal, name, action, target, environment, source, outcome FROM audit
WHERE at >= :since AND at <= :until AND (:name IS NULL OR name = :name) AND (:action IS NULL OR action GLOB :action)
ORDER BY n DESC LIMIT :limit;
-- name: forget_audit
DELETE FROM audit WHERE n IN (SELECT n FROM audit WHERE at < ? ORDER BY n LIMIT 1000);
