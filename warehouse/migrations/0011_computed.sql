-- Computed traits as last said, an object like `traits`: those without a value are left out.
ALTER TABLE {database}.profile_store ADD COLUMN IF NOT EXISTS computed String DEFAULT '{}' CODEC(ZSTD(3)) AFTER traits;

-- `lifecycle` and `rfm` are the computed traits of these names: the stage, and the three scores as one text such as 545.
CREATE OR REPLACE VIEW {database}.profiles AS
SELECT profile_id, members, identifiers, traits, computed, JSONExtractString(computed, 'lifecycle') AS lifecycle,
    JSONExtractString(computed, 'rfm', 'score') AS rfm, counters, first_seen, last_seen, segments, updated
FROM {database}.profile_store FINAL
WHERE merged_into = '' AND notEmpty(members);

-- A row per profile and computed trait that has a value; `value` is JSON.
CREATE VIEW IF NOT EXISTS {database}.computed_traits AS
SELECT profile_id, entry.1 AS trait, entry.2 AS value, updated
FROM {database}.profile_store FINAL
ARRAY JOIN JSONExtractKeysAndValuesRaw(computed) AS entry
WHERE merged_into = '' AND notEmpty(members);

-- Who is in which segment now, by which version of its definition, and the event that brought them in if one did.
CREATE OR REPLACE VIEW {database}.memberships AS
SELECT profile_id, segment, last.2 AS since, last.3 AS cause, last.4 AS seq, last.5 AS segment_version, last.6 AS event_id
FROM
(
    SELECT profile_id, segment, argMax((op, at, cause, seq, segment_version, event_id), seq) AS last
    FROM {database}.transitions
    GROUP BY profile_id, segment
)
WHERE last.1 = 'entered';
