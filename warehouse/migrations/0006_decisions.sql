-- What persons decided of pairs of nodes, for ever: one row for each pair of each operation.
CREATE TABLE IF NOT EXISTS {database}.decision_store
(
    operation String,
    action LowCardinality(String),
    kind LowCardinality(String),
    a String,
    b String,
    `on` Bool,
    at_ms Int64,
    `of` String,
    `by` String,
    reason String
)
ENGINE = ReplacingMergeTree
ORDER BY (operation, kind, a, b, at_ms, `on`);

CREATE VIEW IF NOT EXISTS {database}.identity_decisions AS
SELECT operation, action, kind, a, b, `on`, fromUnixTimestamp64Milli(at_ms, 'UTC') AS at, `of`, `by`, reason
FROM {database}.decision_store FINAL;
