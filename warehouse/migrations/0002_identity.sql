-- Which profile a node belongs to; of two rows that name a node, the larger version is right. A node without a row is its own profile.
CREATE TABLE IF NOT EXISTS {database}.labels
(
    node String,
    profile_id String,
    version UInt64,
    node_low UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(node, 17, 16)))),
    node_high UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(node, 1, 16))))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY node;

-- A 64-bit key costs a fifth of a complex one; the other half of the node is compared by the reader.
CREATE DICTIONARY IF NOT EXISTS {database}.label_dictionary
(
    node_low UInt64,
    node_high UInt64,
    profile_id String
)
PRIMARY KEY node_low
SOURCE(CLICKHOUSE(
    {credentials}
    QUERY 'SELECT node_low, argMax(node_high, version) AS node_high, argMax(profile_id, version) AS profile_id
           FROM {database}.labels GROUP BY node_low'
))
LAYOUT(HASHED())
LIFETIME(MIN 1 MAX 3);

-- Evidence that two nodes belong together; rows join by the smallest first (when, event, source) and the latest day.
CREATE TABLE IF NOT EXISTS {database}.links
(
    a String,
    b String,
    first SimpleAggregateFunction(min, Tuple(Int64, String, String)),
    last_day SimpleAggregateFunction(max, Int64)
)
ENGINE = AggregatingMergeTree
ORDER BY (a, b);

CREATE VIEW IF NOT EXISTS {database}.events AS
WITH dictGetOrDefault('{database}.label_dictionary', ('node_high', 'profile_id'), owner_low, (toUInt64(0), '')) AS label
SELECT
    if(label.1 = owner_high AND label.2 != '', label.2, owner) AS profile_id,
    owner, id, type, name, source, time, received, nodes, identifiers, properties, traits, context
FROM {database}.event_store FINAL;
