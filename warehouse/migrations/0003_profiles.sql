-- Every profile as last said, dissolved ones too (their `merged_into` is set).
CREATE TABLE IF NOT EXISTS {database}.profile_store
(
    profile_id String,
    members Array(String),
    label_version UInt64,
    merged_into String,
    identifiers Array(Tuple(namespace String, value String)),
    traits String CODEC(ZSTD(3)),
    counters Map(String, UInt64),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC'),
    segments Array(LowCardinality(String)),
    updated DateTime64(3, 'UTC'),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY profile_id;

CREATE VIEW IF NOT EXISTS {database}.profiles AS
SELECT profile_id, members, identifiers, traits, counters, first_seen, last_seen, segments, updated
FROM {database}.profile_store FINAL
WHERE merged_into = '';

CREATE TABLE IF NOT EXISTS {database}.transitions
(
    profile_id String,
    segment LowCardinality(String),
    seq UInt64,
    segment_version LowCardinality(String),
    op Enum8('entered' = 1, 'exited' = 2),
    at DateTime64(3, 'UTC'),
    evaluated_at DateTime64(3, 'UTC'),
    cause LowCardinality(String),
    event_id String
)
ENGINE = ReplacingMergeTree
ORDER BY (profile_id, segment, seq);

-- Who is in which segment now: the transition with the largest number is the truth.
CREATE VIEW IF NOT EXISTS {database}.memberships AS
SELECT profile_id, segment, last.2 AS since, last.3 AS cause, last.4 AS seq
FROM
(
    SELECT profile_id, segment, argMax((op, at, cause, seq), seq) AS last
    FROM {database}.transitions
    GROUP BY profile_id, segment
)
WHERE last.1 = 'entered';
