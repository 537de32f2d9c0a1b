-- The events with these labels between two sets of offsets, each once, as it arrived first, with its partition and offset. Those of bots
-- and those that nobody owns are left out.
SELECT owner, id, type, name, source, toUnixTimestamp64Milli(time), toUnixTimestamp64Milli(received), nodes,
    arrayMap(pair -> [pair.1, pair.2], identifiers) AS identifiers, properties, traits, context, flags, trusted, partition, offset
FROM event_store FINAL
WHERE if(type = 'track', toString(name), concat('$', toString(type))) IN {labels:Array(String)}
    AND NOT has(flags, 'bot')
    AND owner != ''
    AND offset >= transform(partition, {partitions:Array(UInt32)}, {starts:Array(UInt64)}, toUInt64(0))
    AND offset < transform(partition, {partitions:Array(UInt32)}, {ends:Array(UInt64)}, toUInt64(0))
