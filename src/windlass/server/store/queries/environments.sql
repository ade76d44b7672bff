-- name: all
SELECT id, name, web_suffix, created_at, default_role, builder_version FROM environment ORDER BY created_at, name;
-- name: by_name
SELECT id, name, web_suffix, created_at, default_role, builder_version FROM environment WHERE name = ?;
-- name: insert
INSERT INTO environment (id, name, web_suffix, created_at, default_role, builder_version)
VALUES (:id, :name, :web_suffix, :created_at, :default_role, :builder_version);
-- name: update
UPDATE environment SET name = :name, web_suffix = :web_suffix, builder_version = :builder_version WHERE id = :id;
-- name: rename_apps
UPDATE app SET environment = :new WHERE environment = :old;
-- name: rename_images
UPDATE image_name SET environment = :new WHERE environment = :old;
-- name: delete
DELETE FROM environment WHERE id = ?;
-- name: delete_images
DELETE FROM image_name WHERE environment = ?;
-- name: remains
SELECT 1 FROM app WHERE environment = ? LIMIT 1;
-- name: set_default_role
UPDATE environment SET default_role = ? WHERE id = ?;
