-- Every event once, as it arrived first, with its partition and offset.
SELECT owner, id, type, name, source, toUnixTimestamp64Milli(time), toUnixTimestamp64Milli(received), nodes,
    arrayMap(pair -> [pair.1, pair.2], identifiers) AS identifiers, properties, traits, context, flags, trusted, partition, offset
FROM event_store FINAL
ORDER BY owner, id
