-- name: add
INSERT INTO usage (app, hour, name, environment, tags, cores, memory, gpus, cpu, containers)
VALUES (:app, :hour, :name, :environment, coalesce((SELECT tags FROM app WHERE id = :app), '{}'),
    :cores, :memory, :gpus, :cpu, :containers)
ON CONFLICT (app, hour) DO UPDATE SET name = excluded.name, environment = excluded.environment, tags = excluded.tags,
    cores = cores + excluded.cores, memory = memory + excluded.memory, gpus = gpus + excluded.gpus,
    cpu = cpu + excluded.cpu, containers = containers + excluded.containers;
-- name: between
SELECT app, hour / :span, name, environment, tags, sum(cores), sum(memory), sum(gpus), sum(cpu), sum(containers)
FROM usage WHERE hour >= :first AND hour < :end AND (:environment IS NULL OR environment = :environment)
GROUP BY app, hour / :span;
-- name: tags
SELECT tags FROM app WHERE id = ?;
-- name: rename_environment
UPDATE usage SET environment = :new WHERE environment = :old;
-- name: forget
DELETE FROM usage WHERE hour < ?;
