-- What events said of accounts: of the rows of one trait the largest register (when, message, value as JSON) is right.
CREATE TABLE IF NOT EXISTS {database}.account_trait_store
(
    group_id String,
    name String,
    trait String,
    register SimpleAggregateFunction(max, Tuple(Int64, String, String))
)
ENGINE = AggregatingMergeTree
ORDER BY (group_id, name, trait);

-- What each profile contributes to each group as of its last record; `present` is 0 when it left. Traits are registers, as above.
CREATE TABLE IF NOT EXISTS {database}.contribution_store
(
    group_id String,
    profile_id String,
    kind Enum8('account' = 1, 'household' = 2),
    name String,
    present Bool,
    seq UInt64,
    rank UInt32,
    most UInt32,
    traits Map(String, Tuple(Int64, String, String)),
    counters Map(String, UInt64),
    at DateTime64(3, 'UTC'),
    profile_low UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(profile_id, 17, 16)))),
    profile_high UInt64 MATERIALIZED reinterpretAsUInt64(reverse(unhex(substring(profile_id, 1, 16))))
)
ENGINE = ReplacingMergeTree(seq)
ORDER BY (group_id, profile_id);

-- Who is in which group, each profile as it is called now. Of a household this is everybody who has its sign, however many.
CREATE VIEW IF NOT EXISTS {database}.group_members AS
WITH dictGetOrDefault('{database}.label_dictionary', ('node_high', 'profile_id'), profile_low, (toUInt64(0), '')) AS label
SELECT group_id, kind, if(label.1 = profile_high AND label.2 != '', label.2, c.profile_id) AS profile_id, max(c.name) AS name,
    min(c.rank) AS rank, max(c.most) AS most
FROM {database}.contribution_store AS c FINAL
WHERE present
GROUP BY group_id, kind, profile_id;

CREATE VIEW IF NOT EXISTS {database}.accounts AS
SELECT
    group_id AS account_id,
    max(called) AS account,
    concat('{', arrayStringConcat(arrayMap(t -> concat(toJSONString(t.1), ':', t.2), arraySort(groupArrayIf((trait, value), trait != ''
        AND value != 'null'))), ','), '}') AS traits,
    arraySort(groupUniqArrayIf(member, member != '')) AS members,
    length(members) AS size
FROM
(
    SELECT group_id, name AS called, trait, max(register).3 AS value, '' AS member
    FROM {database}.account_trait_store
    GROUP BY group_id, name, trait
    UNION ALL
    SELECT group_id, name AS called, '' AS trait, '' AS value, profile_id AS member
    FROM {database}.group_members
    WHERE kind = 'account'
)
GROUP BY group_id;

-- A household is two people or more, and no more than the rules allow. `rank` is the place of its sign among the member's own, from 0:
-- the household of a person is the one with the smallest.
CREATE VIEW IF NOT EXISTS {database}.household_members AS
SELECT group_id AS household_id, profile_id, rank
FROM {database}.group_members
WHERE kind = 'household' AND group_id IN
(
    SELECT group_id
    FROM {database}.group_members
    WHERE kind = 'household'
    GROUP BY group_id
    HAVING count() BETWEEN 2 AND max(most)
);

CREATE VIEW IF NOT EXISTS {database}.households AS
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
        SELECT group_id, trait, max(register).3 AS value
        FROM {database}.contribution_store FINAL
        ARRAY JOIN mapKeys(traits) AS trait, mapValues(traits) AS register
        WHERE kind = 'household' AND present
        GROUP BY group_id, trait
    )
    GROUP BY group_id
) AS t ON t.group_id = m.household_id;
