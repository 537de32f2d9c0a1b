-- What was said of an event when it was taken in: `violations` are noted on it, `observed` are those of a plan that only counts.
ALTER TABLE {database}.event_store ADD COLUMN IF NOT EXISTS flags Array(LowCardinality(String)) AFTER context;
ALTER TABLE {database}.event_store
    ADD COLUMN IF NOT EXISTS violations Array(Tuple(path String, rule String, kind String)) AFTER flags;
ALTER TABLE {database}.event_store
    ADD COLUMN IF NOT EXISTS observed Array(Tuple(path String, rule String, kind String)) AFTER violations;

-- So that repetitions can be told by source and event. Rows from before have neither.
ALTER TABLE {database}.ledger ADD COLUMN IF NOT EXISTS source LowCardinality(String);
ALTER TABLE {database}.ledger ADD COLUMN IF NOT EXISTS event LowCardinality(String);
ALTER TABLE {database}.ledger ADD COLUMN IF NOT EXISTS received DateTime64(3, 'UTC');

CREATE OR REPLACE VIEW {database}.events AS
WITH dictGetOrDefault('{database}.label_dictionary', ('node_high', 'profile_id'), owner_low, (toUInt64(0), '')) AS label
SELECT
    if(label.1 = owner_high AND label.2 != '', label.2, owner) AS profile_id,
    owner, id, type, name, source, time, received, nodes, identifiers, properties, traits, context, flags, violations
FROM {database}.event_store FINAL;

CREATE OR REPLACE VIEW {database}.events_now AS
SELECT
    if(l.profile_id = '', e.owner, l.profile_id) AS profile_id,
    e.owner AS owner, e.id AS id, e.type AS type, e.name AS name, e.source AS source, e.time AS time, e.received AS received,
    e.nodes AS nodes, e.identifiers AS identifiers, e.properties AS properties, e.traits AS traits, e.context AS context,
    e.flags AS flags, e.violations AS violations
FROM {database}.event_store AS e FINAL
LEFT ANY JOIN (SELECT node, argMax(profile_id, version) AS profile_id FROM {database}.labels GROUP BY node) AS l ON e.owner = l.node;

-- Quarantined calls by the source and the event that they would have been, as far as their bytes tell.
CREATE OR REPLACE VIEW {database}.quarantined_events AS
WITH
    tryBase64Decode(raw) AS said,
    JSONExtractString(said, 'type') AS kind,
    JSONExtractString(said, 'event') AS called,
    JSONExtractString(said, 'source') AS named
SELECT
    if(source != '', toString(source), if(named != '', substringUTF8(named, 1, 128), 'default')) AS source,
    substringUTF8(multiIf(called != '', called, kind = 'track', JSONExtractString(said, 'name'), kind != '', concat('$', kind), ''),
        1, 512) AS event,
    id, stage, reason, detail, at
FROM {database}.quarantine FINAL
WHERE counted;

-- Violations of tracking plans, counted; `sample` is a message's id, or of a blocked one its id in quarantine.
CREATE OR REPLACE VIEW {database}.violations AS
SELECT source, event, path, rule, kind, count() AS events, countIf(held) AS blocked, min(at) AS first_seen, max(at) AS last_seen,
    argMax(id, (at, id)) AS sample
FROM
(
    SELECT toString(source) AS source, if(type = 'track', toString(name), concat('$', toString(type))) AS event,
        violation.1 AS path, violation.2 AS rule, violation.3 AS kind, id, received AS at, false AS held
    FROM {database}.event_store FINAL
    ARRAY JOIN arrayConcat(violations, observed) AS violation
    UNION ALL
    SELECT source, event, splitByString(': ', detail)[1] AS path, extract(detail, '\\(([a-z_]+)(?:, [a-z]+)?\\)$') AS rule,
        extract(detail, ', ([a-z]+)\\)$') AS kind, id, at, true AS held
    FROM {database}.quarantined_events
    WHERE reason = 'plan_violation'
)
GROUP BY source, event, path, rule, kind;

-- Every hour that is over, beside the same hour of the same weekday in up to four earlier weeks. `z` is how far it is from their
-- median, in units of their spread; it is told once there are two weeks.
CREATE OR REPLACE VIEW {database}.volume_hourly AS
SELECT source, event, hour, events, weeks, usual,
    greatest(1.4826 * arrayReduce('quantileExactInclusive(0.5)', arrayMap(n -> abs(n - usual), samples)), sqrt(usual), 1.) AS spread,
    (events - usual) / spread AS z
FROM
(
    SELECT source, event, hour, sumIf(n, lag = 0) AS events,
        toUInt8(least(4, intDiv(dateDiff('hour', min(first), hour), 168))) AS weeks,
        arrayResize(groupArrayIf(toFloat64(n), lag > 0), weeks, 0.) AS samples,
        arrayReduce('quantileExactInclusive(0.5)', samples) AS usual
    FROM
    (
        SELECT source, event, n, lag, addDays(began, 7 * lag) AS hour, min(began) OVER (PARTITION BY source, event) AS first
        FROM
        (
            SELECT toString(source) AS source, if(type = 'track', toString(name), concat('$', toString(type))) AS event,
                toStartOfHour(received) AS began, count() AS n
            FROM {database}.event_store FINAL
            WHERE received >= now() - INTERVAL 64 DAY
            GROUP BY source, event, began
        )
        ARRAY JOIN [0, 1, 2, 3, 4] AS lag
    )
    GROUP BY source, event, hour
)
WHERE weeks >= 2 AND hour < toStartOfHour(now());

-- The days of the last five weeks, by source and event. What each column says, and how the score comes about: docs/data-quality.md.
CREATE OR REPLACE VIEW {database}.quality_daily AS
WITH
    recent AS
    (
        SELECT toDate(received) AS day, toString(source) AS source,
            if(type = 'track', toString(name), concat('$', toString(type))) AS event,
            received, dateDiff('millisecond', time, received) AS lag_ms, flags, arrayConcat(violations, observed) AS wrong,
            arrayConcat(
                arrayMap(pair -> concat('properties.', pair.1),
                    arrayFilter(pair -> pair.2 != 'null', JSONExtractKeysAndValuesRaw(properties))),
                arrayMap(pair -> concat('traits.', pair.1),
                    arrayFilter(pair -> pair.2 != 'null', JSONExtractKeysAndValuesRaw(traits)))) AS held,
            arrayFilter(v -> v.2 = 'missing' AND length(splitByChar('.', v.1)) = 2, wrong).1 AS missed
        FROM {database}.event_store FINAL
        WHERE received >= toStartOfDay(now()) - INTERVAL 63 DAY
    ),
    totals AS (SELECT day, source, event, count() AS n FROM recent GROUP BY day, source, event),
    known AS
    (
        SELECT shifted AS day, source, event, path, sum(n) AS had, sumIf(n, lag = 0) AS there, sumIf(lacking, lag = 0) AS lacked
        FROM
        (
            SELECT day + lag AS shifted, source, event, path, n, lacking, lag
            FROM
            (
                SELECT day, source, event, path, countIf(has(held, path)) AS n, countIf(has(missed, path)) AS lacking
                FROM recent
                ARRAY JOIN arrayDistinct(arrayConcat(held, missed)) AS path
                GROUP BY day, source, event, path
            )
            ARRAY JOIN range(28) AS lag
        )
        GROUP BY day, source, event, path
    ),
    seen AS
    (
        SELECT shifted AS day, source, event, sum(n) AS all
        FROM (SELECT day + lag AS shifted, source, event, n FROM totals ARRAY JOIN range(28) AS lag)
        GROUP BY day, source, event
    ),
    filled AS
    (
        SELECT k.day AS day, k.source AS source, k.event AS event, sum(k.there) AS there, count() AS paths
        FROM known AS k
        INNER JOIN seen AS s ON s.day = k.day AND s.source = k.source AND s.event = k.event
        WHERE k.had >= 0.8 * s.all OR k.lacked > 0
        GROUP BY day, source, event
    ),
    parts AS
    (
        SELECT day, source, event, count() AS stored, countIf(notEmpty(wrong)) AS violating, countIf(has(flags, 'bot')) AS bots,
            toUInt64(0) AS held_back, toUInt64(0) AS booked, toUInt64(0) AS hours, toUInt64(0) AS usual_hours,
            quantileTDigest(0.5)(lag_ms) AS p50, quantileTDigest(0.95)(lag_ms) AS p95, max(received) AS latest
        FROM recent
        GROUP BY day, source, event
        UNION ALL
        SELECT toDate(at) AS day, source, event, 0, 0, 0, count(), 0, 0, 0, 0, 0, max(at)
        FROM {database}.quarantined_events
        WHERE at >= toStartOfDay(now()) - INTERVAL 35 DAY
        GROUP BY day, source, event
        UNION ALL
        SELECT toDate(received) AS day, toString(source) AS source, toString(event) AS event, 0, 0, 0, 0, count(), 0, 0, 0, 0,
            max(received)
        FROM {database}.ledger FINAL
        WHERE outcome = 'stored' AND source != '' AND received >= toStartOfDay(now()) - INTERVAL 35 DAY
        GROUP BY day, source, event
        UNION ALL
        SELECT toDate(hour) AS day, source, event, 0, 0, 0, 0, 0, count(), countIf(abs(z) <= 3.5), 0, 0, toDateTime64(0, 3, 'UTC')
        FROM {database}.volume_hourly
        WHERE hour >= toStartOfDay(now()) - INTERVAL 35 DAY
        GROUP BY day, source, event
    ),
    days AS
    (
        SELECT day, source, event, sum(stored) AS events, sum(held_back) AS quarantined, sum(violating) AS violating,
            sum(bots) AS bots, toUInt64(greatest(toInt64(sum(booked)) - toInt64(sum(stored)), 0)) AS duplicates,
            sum(hours) AS hours_judged, sum(usual_hours) AS hours_usual, max(p50) AS freshness_p50_ms, max(p95) AS freshness_p95_ms,
            max(latest) AS last_seen
        FROM parts
        WHERE day >= toDate(now()) - 34
        GROUP BY day, source, event
    )
SELECT
    d.day AS day, d.source AS source, d.event AS event, d.events AS events, d.quarantined AS quarantined, d.violating AS violating,
    d.bots AS bots, d.duplicates AS duplicates, d.hours_judged AS hours_judged, d.hours_usual AS hours_usual,
    d.freshness_p50_ms AS freshness_p50_ms, d.freshness_p95_ms AS freshness_p95_ms, d.last_seen AS last_seen,
    if(d.events > 0 AND f.paths > 0, f.there / (d.events * f.paths), NULL) AS completeness,
    if(d.events + d.quarantined > 0, (d.events - d.violating) / (d.events + d.quarantined), NULL) AS validity,
    if(d.events > 0, 1 - least(greatest(log(d.freshness_p95_ms / 60000) / log(1440), 0), 1), NULL) AS freshness,
    if(d.events > 0, d.events / (d.events + d.duplicates), NULL) AS uniqueness,
    if(d.hours_judged > 0, d.hours_usual / d.hours_judged, NULL) AS volume,
    100 * (40 * ifNull(validity, 0) + 25 * ifNull(completeness, 0) + 10 * ifNull(freshness, 0) + 10 * ifNull(uniqueness, 0)
        + 15 * ifNull(volume, 0))
        / nullIf(40 * isNotNull(validity) + 25 * isNotNull(completeness) + 10 * isNotNull(freshness) + 10 * isNotNull(uniqueness)
        + 15 * isNotNull(volume), 0) AS score
FROM days AS d
LEFT JOIN filled AS f ON f.day = d.day AND f.source = d.source AND f.event = d.event;
