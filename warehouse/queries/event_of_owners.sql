SELECT type, name, source, toUnixTimestamp64Milli(time) AS time_ms, toUnixTimestamp64Milli(received) AS received_ms
FROM event_store FINAL
WHERE owner IN {owners:Array(String)} AND id = {id:String}
LIMIT 1
