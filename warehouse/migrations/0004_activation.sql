CREATE TABLE IF NOT EXISTS {database}.deliveries
(
    key String,
    state Enum8('delivered' = 1, 'failed' = 2, 'skipped' = 3),
    attempts UInt32,
    destination LowCardinality(String),
    profile_id String,
    segment LowCardinality(String),
    op Enum8('entered' = 1, 'exited' = 2),
    seq UInt64,
    verdict LowCardinality(String),
    status UInt16,
    detail String,
    transition DateTime64(3, 'UTC'),
    at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (key, state, attempts);

CREATE TABLE IF NOT EXISTS {database}.quarantine
(
    id String,
    stage LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    source LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    raw String CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC'),
    counted Bool
)
ENGINE = ReplacingMergeTree
ORDER BY id;
