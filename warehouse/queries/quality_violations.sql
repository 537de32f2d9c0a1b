-- The most frequent violations of the tracking plan.
SELECT source, event, path, rule, kind, events, blocked, toUnixTimestamp64Milli(last_seen) AS last_seen_ms, sample
FROM violations
WHERE {source:String} = '' OR source = {source:String}
ORDER BY events DESC, source, event, path, rule, kind
LIMIT {limit:UInt32}
