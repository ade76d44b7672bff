-- name: get
SELECT used_at, size, blob, value FROM dict_entry WHERE content = ? AND key = ?;
-- name: peek
SELECT used_at, blob FROM dict_entry WHERE content = ? AND key = ?;
-- name: put
INSERT INTO dict_entry (content, key, used_at, size, blob, value) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (content, key) DO UPDATE SET used_at = excluded.used_at, size = excluded.size, blob = excluded.blob, value = excluded.value;
-- name: touch
UPDATE dict_entry SET used_at = ? WHERE content = ? AND key = ?;
-- name: delete
DELETE FROM dict_entry WHERE content = ? AND key = ?;
-- name: count
SELECT count(*) FROM (SELECT 1 FROM dict_entry WHERE content = :content AND used_at > :after LIMIT :most);
-- name: has_blobs
SELECT 1 FROM dict_entry WHERE content = ? AND blob IS NOT NULL LIMIT 1;
-- name: scan
SELECT key, size, blob, value FROM dict_entry WHERE content = :content AND key > :key AND used_at > :after ORDER BY key LIMIT :limit;
-- name: keys
SELECT key FROM dict_entry WHERE content = :content AND key > :key AND used_at > :after ORDER BY key LIMIT :limit;
-- name: walk
SELECT content, key, used_at, blob FROM dict_entry WHERE (content, key) > (?, ?) ORDER BY content, key LIMIT ?;
-- name: some
SELECT key, blob FROM dict_entry WHERE content = ? LIMIT ?;
