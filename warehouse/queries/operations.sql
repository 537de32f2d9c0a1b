-- The latest operations, the newest first, with the number of pairs that each decided.
SELECT operation, any(action) AS action, any(`on`) AS `on`, max(at_ms) AS at_ms, any(`of`) AS `of`, any(`by`) AS `by`,
    any(reason) AS reason, count() AS pairs
FROM decision_store FINAL
GROUP BY operation
ORDER BY at_ms DESC, operation DESC
LIMIT {limit:UInt32}
