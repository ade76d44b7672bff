-- name: texts
SELECT spec FROM function UNION ALL SELECT overrides FROM function UNION ALL SELECT parameters FROM function
UNION ALL SELECT spec FROM spec UNION ALL SELECT recipe FROM image;
-- name: pages
SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count),
    (SELECT page_size FROM pragma_page_size);
-- name: layers
SELECT coalesce(sum(size), 0) FROM volume_layer;
-- name: dicts
SELECT c.id, c.environment, c.name, count(e.key), coalesce(sum(e.size), 0)
FROM collection c LEFT JOIN dict_entry e ON e.content = c.content WHERE c.kind = 'dict' GROUP BY c.id;
-- name: queues
SELECT c.id, c.environment, c.name, count(i.seq), coalesce(sum(length(i.value)), 0)
FROM collection c LEFT JOIN queue_partition p ON p.queue = c.content LEFT JOIN queue_item i ON i.part = p.n
WHERE c.kind = 'queue' GROUP BY c.id;
-- name: logs
SELECT (SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM log)
    + (SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM image_log);
