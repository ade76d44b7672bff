-- name: partition
SELECT queue, key, n, expires_at, next FROM queue_partition WHERE queue = ? AND key = ?;
-- name: write_partition
INSERT INTO queue_partition (queue, key, n, expires_at, next) VALUES (:queue, :key, :n, :expires_at, :next)
ON CONFLICT (queue, key) DO UPDATE SET n = :n, expires_at = :expires_at, next = :next;
-- name: move
UPDATE queue_partition SET expires_at = expires_at + :by;
-- name: forget_partition
DELETE FROM queue_partition WHERE queue = ? AND key = ?;
-- name: some_partitions
SELECT queue, key, n, expires_at, next FROM queue_partition WHERE queue = ? LIMIT ?;
-- name: idle_partitions
SELECT queue, key, n, expires_at, next FROM queue_partition p
WHERE queue = :queue AND (expires_at <= :now OR NOT EXISTS (SELECT 1 FROM queue_item WHERE part = p.n)) LIMIT :limit;
-- name: walk
SELECT queue, key, n, expires_at, next FROM queue_partition WHERE (queue, key) > (?, ?) ORDER BY queue, key LIMIT ?;
-- name: count_partitions
SELECT count(*) FROM queue_partition WHERE queue = ?;
-- name: insert
INSERT INTO queue_item (part, seq, value) VALUES (?, ?, ?);
-- name: insert_again
INSERT OR IGNORE INTO queue_item (part, seq, value) VALUES (?, ?, ?);
-- name: items
SELECT seq, value FROM queue_item WHERE part = ? AND seq >= ? ORDER BY seq;
-- name: delete
DELETE FROM queue_item WHERE part = ? AND seq = ?;
-- name: some
SELECT seq FROM queue_item WHERE part = ? ORDER BY seq LIMIT ?;
-- name: count
SELECT count(*) FROM queue_item WHERE part = ?;
-- name: total
SELECT count(*) FROM (
    SELECT 1 FROM queue_partition p JOIN queue_item i ON i.part = p.n
    WHERE p.queue = :queue AND p.expires_at > :now LIMIT :most
);
-- name: filled_partitions
SELECT count(*) FROM queue_partition p
WHERE queue = :queue AND expires_at > :now AND EXISTS (SELECT 1 FROM queue_item WHERE part = p.n);
