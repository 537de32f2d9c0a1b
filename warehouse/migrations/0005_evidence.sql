-- Why two nodes belong together, for ever. Rows of a pair join by the smallest `first` (when, event, source, owner, rule, version of
-- the rules), and the smallest `last` (the day last seen, negative so that the latest comes first; when on that day; event).
CREATE TABLE IF NOT EXISTS {database}.evidence_store
(
    a String,
    b String,
    first SimpleAggregateFunction(min, Tuple(Int64, String, String, String, String, String)),
    last SimpleAggregateFunction(min, Tuple(Int64, Int64, String))
)
ENGINE = AggregatingMergeTree
ORDER BY (a, b);

-- What was kept before: the latest day without its event, so the day's beginning and the first event stand for them.
INSERT INTO {database}.evidence_store (a, b, first, last)
SELECT a, b, (first.1, first.2, first.3, '', 'together', ''),
    (-greatest(last_day, toInt64(floor(first.1 / 86400000))), greatest(last_day * 86400000, first.1), first.2)
FROM {database}.links;

TRUNCATE TABLE {database}.links;

CREATE VIEW IF NOT EXISTS {database}.identity_evidence AS
SELECT a, b, fromUnixTimestamp64Milli(f.1, 'UTC') AS first_seen, f.2 AS first_event, fromUnixTimestamp64Milli(l.2, 'UTC') AS last_seen,
    l.3 AS last_event, f.3 AS source, f.4 AS owner, f.5 AS rule, f.6 AS rules
FROM (SELECT a, b, min(first) AS f, min(last) AS l FROM {database}.evidence_store GROUP BY a, b);
