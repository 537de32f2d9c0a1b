-- Whether the source of an event was trusted. Events from before count as trusted.
ALTER TABLE {database}.event_store ADD COLUMN IF NOT EXISTS trusted Bool DEFAULT true AFTER observed;

CREATE OR REPLACE VIEW {database}.events AS
WITH dictGetOrDefault('{database}.label_dictionary', ('node_high', 'profile_id'), owner_low, (toUInt64(0), '')) AS label
SELECT
    if(label.1 = owner_high AND label.2 != '', label.2, owner) AS profile_id,
    owner, id, type, name, source, trusted, time, received, nodes, identifiers, properties, traits, context, flags, violations
FROM {database}.event_store FINAL;

CREATE OR REPLACE VIEW {database}.events_now AS
SELECT
    if(l.profile_id = '', e.owner, l.profile_id) AS profile_id,
    e.owner AS owner, e.id AS id, e.type AS type, e.name AS name, e.source AS source, e.trusted AS trusted, e.time AS time,
    e.received AS received, e.nodes AS nodes, e.identifiers AS identifiers, e.properties AS properties, e.traits AS traits,
    e.context AS context, e.flags AS flags, e.violations AS violations
FROM {database}.event_store AS e FINAL
LEFT ANY JOIN (SELECT node, argMax(profile_id, version) AS profile_id FROM {database}.labels GROUP BY node) AS l ON e.owner = l.node;

-- Why two nodes belong together, for ever. Trusted evidence takes the place of public evidence, so both columns begin with whether the
-- evidence is public (0 or 1) and the smallest is right: `first` (when, event, source, owner, rule, version of the rules), and `last`
-- (the day last seen, negative so that the latest comes first; when on that day; event).
CREATE TABLE IF NOT EXISTS {database}.pair_evidence
(
    a String,
    b String,
    first SimpleAggregateFunction(min, Tuple(UInt8, Int64, String, String, String, String, String)),
    last SimpleAggregateFunction(min, Tuple(UInt8, Int64, Int64, String))
)
ENGINE = AggregatingMergeTree
ORDER BY (a, b);

INSERT INTO {database}.pair_evidence (a, b, first, last)
SELECT a, b, (0, first.1, first.2, first.3, first.4, first.5, first.6), (0, last.1, last.2, last.3)
FROM {database}.evidence_store;

TRUNCATE TABLE {database}.evidence_store;

CREATE OR REPLACE VIEW {database}.identity_evidence AS
SELECT a, b, fromUnixTimestamp64Milli(f.2, 'UTC') AS first_seen, f.3 AS first_event, fromUnixTimestamp64Milli(l.3, 'UTC') AS last_seen,
    l.4 AS last_event, f.4 AS source, f.5 AS owner, f.6 AS rule, f.7 AS rules, f.1 = 0 AS trusted
FROM (SELECT a, b, min(first) AS f, min(last) AS l FROM {database}.pair_evidence GROUP BY a, b);

-- What events said of accounts: of the rows of one trait the largest register (trusted, when, message, value as JSON) is right.
CREATE TABLE IF NOT EXISTS {database}.account_trait_registers
(
    group_id String,
    name String,
    trait String,
    register SimpleAggregateFunction(max, Tuple(UInt8, Int64, String, String))
)
ENGINE = AggregatingMergeTree
ORDER BY (group_id, name, trait);

INSERT INTO {database}.account_trait_registers (group_id, name, trait, register)
SELECT group_id, name, trait, (1, register.1, register.2, register.3)
FROM {database}.account_trait_store;

TRUNCATE TABLE {database}.account_trait_store;

ALTER TABLE {database}.contribution_store
    ADD COLUMN IF NOT EXISTS registers Map(String, Tuple(UInt8, Int64, String, String))
    DEFAULT mapFromArrays(mapKeys(traits), arrayMap(r -> (toUInt8(1), r.1, r.2, r.3), mapValues(traits))) AFTER traits;

CREATE OR REPLACE VIEW {database}.accounts AS
SELECT
    group_id AS account_id,
    max(called) AS account,
    concat('{', arrayStringConcat(arrayMap(t -> concat(toJSONString(t.1), ':', t.2), arraySort(groupArrayIf((trait, value), trait != ''
        AND value != 'null'))), ','), '}') AS traits,
    arraySort(groupUniqArrayIf(member, member != '')) AS members,
    length(members) AS size
FROM
(
    SELECT group_id, name AS called, trait, max(register).4 AS value, '' AS member
    FROM {database}.account_trait_registers
    GROUP BY group_id, name, trait
    UNION ALL
    SELECT group_id, name AS called, '' AS trait, '' AS value, profile_id AS member
    FROM {database}.group_members
    WHERE kind = 'account'
)
GROUP BY group_id;

CREATE OR REPLACE VIEW {database}.households AS
SELECT
    m.household_id AS household_id,
    m.members AS members,
    length(m.members) AS size,
    concat('{', arrayStringConcat(arrayMap(t -> concat(toJSONString(t.1), ':', t.2), t.traits), ','), '}') AS traits,
    m.counters AS counters
FROM
(
    SELECT household_id, arraySort(groupArray(h.profile_id)) AS members, sumMap(p.counters) AS counters
    FROM {database}.household_members AS h
    LEFT ANY JOIN (SELECT profile_id, counters FROM {database}.profiles) AS p ON p.profile_id = h.profile_id
    GROUP BY household_id
) AS m
LEFT ANY JOIN
(
    SELECT group_id, arraySort(groupArray((trait, value))) AS traits
    FROM
    (
        SELECT group_id, trait, max(register).4 AS value
        FROM {database}.contribution_store FINAL
        ARRAY JOIN mapKeys(registers) AS trait, mapValues(registers) AS register
        WHERE kind = 'household' AND present
        GROUP BY group_id, trait
    )
    GROUP BY group_id
) AS t ON t.group_id = m.household_id;
