-- Which Kafka log the offsets in all tables belong to. Offsets of a later epoch are larger than those of an earlier one.
CREATE TABLE IF NOT EXISTS {database}.adopted_logs
(
    epoch UInt32,
    cluster_id String,
    topic_ids Map(String, String),
    at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(at)
ORDER BY epoch;

-- The newest record of each definition, as it lies on the topic: what is written to a new log when Kafka's disk was lost.
CREATE TABLE IF NOT EXISTS {database}.definition_store
(
    key String,
    value String CODEC(ZSTD(3)),
    removed Bool,
    offset UInt64,
    written DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(offset)
ORDER BY key;
