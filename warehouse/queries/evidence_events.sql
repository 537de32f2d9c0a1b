-- The events behind a condition: those of some owners with one label (a track event's name, or $page, $identify ...), the latest
-- first. `times` (in ms) restricts them to these instants unless it is empty.
SELECT owner, id, type, name, source, toUnixTimestamp64Milli(time) AS time_ms, toUnixTimestamp64Milli(received) AS received_ms, nodes,
    arrayMap(pair -> [pair.1, pair.2], identifiers) AS pairs, properties, traits, context, flags, trusted
FROM event_store FINAL
WHERE owner IN {owners:Array(String)}
    AND if(type = 'track', name, concat('$', type)) = {label:String}
    AND time_ms BETWEEN {from_ms:Int64} AND {until_ms:Int64}
    AND (empty({times:Array(Int64)}) OR has({times:Array(Int64)}, time_ms))
    AND ({bots:Bool} OR NOT has(flags, 'bot'))
ORDER BY time_ms DESC, id DESC
LIMIT {limit:UInt32}
