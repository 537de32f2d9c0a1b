SELECT type, name, source, toUnixTimestamp64Milli(time) AS time_ms, toUnixTimestamp64Milli(received) AS received_ms, nodes
FROM event_store FINAL
WHERE owner = {owner:String} AND id = {id:String}
