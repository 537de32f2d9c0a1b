-- The latest decision about each pair, whether it was undone or not.
SELECT kind, a, b, latest.3 AS `on`, latest.1 AS at_ms, latest.2 AS operation
FROM (SELECT kind, a, b, max((at_ms, operation, `on`)) AS latest FROM decision_store GROUP BY kind, a, b)
