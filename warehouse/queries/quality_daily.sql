-- One day's quality by source and event.
SELECT source, event, events, quarantined, violating, bots, duplicates, freshness_p50_ms, freshness_p95_ms,
    toUnixTimestamp64Milli(last_seen) AS last_seen_ms, completeness, validity, freshness, uniqueness, volume
FROM quality_daily
WHERE day = {day:Date} AND ({source:String} = '' OR source = {source:String})
ORDER BY source, event
