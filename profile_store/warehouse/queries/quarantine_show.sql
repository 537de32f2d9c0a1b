SELECT id, stage, reason, detail, source, topic, partition, offset, toUnixTimestamp64Milli(at) AS at_ms, counted, raw
FROM quarantine FINAL
WHERE id = {id:String}
