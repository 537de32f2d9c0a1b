SELECT id, stage, reason, detail, source, topic, partition, offset, toUnixTimestamp64Milli(at) AS at_ms, counted
FROM quarantine FINAL
WHERE {reason:String} = '' OR reason = {reason:String}
ORDER BY at DESC, id
LIMIT {limit:UInt32}
