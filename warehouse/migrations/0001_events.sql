-- Events as they arrived. Of rows with one (owner, id) the one that arrived first stays: the largest version is the smallest offset.
CREATE TABLE IF NOT EXISTS {database}.event_store
(
    owner String,
    id String,
    type LowCardinality(String),
    name LowCardinality(String),
    source LowCardinality(String),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    nodes Array(String),
    identifiers Array(Tuple(namespace String, value String)),
    properties String CODEC(ZSTD(3)),
    traits String CODEC(ZSTD(3)),
    context String CODEC(ZSTD(3)),
    partition UInt32,
    offset UInt64,
    version UInt64 MATERIALIZED bitNot(offset),
    owner_low UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(owner, 17, 16)))),
    owner_high UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(owner, 1, 16)))),
    INDEX by_time time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (owner, id);

-- One row per record of the topic `events`, whatever became of it: what the account adds up.
CREATE TABLE IF NOT EXISTS {database}.ledger
(
    partition UInt32,
    offset UInt64,
    owner String,
    id_hash String,
    outcome Enum8('stored' = 1, 'suppressed' = 2, 'quarantined' = 3),
    reason LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (partition, offset);

-- Up to where each topic has been inserted, written after the rows: everything before it is in the tables.
CREATE TABLE IF NOT EXISTS {database}.positions
(
    topic LowCardinality(String),
    partition UInt32,
    next_offset SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (topic, partition);
