-- Which nodes a profile consisted of since when: every merge and split. A dissolved profile has no members.
CREATE TABLE IF NOT EXISTS {database}.identity_store
(
    profile_id String,
    version UInt64,
    members Array(String),
    merged_into String,
    split_from String,
    cause String,
    at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (profile_id, version);

-- A rebuild says what a profile is under a newer version: that is no change, so it stands under the version that it was decided at.
CREATE VIEW IF NOT EXISTS {database}.identity_changes AS
SELECT profile_id, min(version) AS version, members, merged_into, split_from, cause, at
FROM {database}.identity_store
GROUP BY profile_id, members, merged_into, split_from, cause, at;

ALTER TABLE {database}.profile_store ADD COLUMN IF NOT EXISTS split_from String AFTER merged_into;

-- Neither those that went into another profile, nor those whose identifiers went to several.
CREATE OR REPLACE VIEW {database}.profiles AS
SELECT profile_id, members, identifiers, traits, counters, first_seen, last_seen, segments, updated
FROM {database}.profile_store FINAL
WHERE merged_into = '' AND notEmpty(members);

-- The view `events` may be a few seconds behind a merge or a split, for its dictionary is read anew only so often. This one is not:
-- it reads the labels themselves, which costs every query a pass over all of them.
CREATE VIEW IF NOT EXISTS {database}.events_now AS
SELECT
    if(l.profile_id = '', e.owner, l.profile_id) AS profile_id,
    e.owner AS owner, e.id AS id, e.type AS type, e.name AS name, e.source AS source, e.time AS time, e.received AS received,
    e.nodes AS nodes, e.identifiers AS identifiers, e.properties AS properties, e.traits AS traits, e.context AS context
FROM {database}.event_store AS e FINAL
LEFT ANY JOIN (SELECT node, argMax(profile_id, version) AS profile_id FROM {database}.labels GROUP BY node) AS l ON e.owner = l.node;
