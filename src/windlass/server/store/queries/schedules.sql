-- name: all
SELECT function, schedule, since, next_at, fired_at, call_id FROM schedule;
-- name: put
INSERT OR REPLACE INTO schedule (function, schedule, since, next_at, fired_at, call_id) VALUES (?, ?, ?, ?, ?, ?);
-- name: delete
DELETE FROM schedule WHERE function = ?;
