-- What the properties and traits of a source's events contained since an instant: kinds of values, forms of texts, and the values
-- themselves (as JSON) where there are few. Nulls are absent.
SELECT event, section, path, count() AS present,
    countIf(kind = 'text') AS texts, countIf(kind = 'integer') AS integers, countIf(kind = 'number') AS numbers,
    countIf(kind = 'boolean') AS booleans, countIf(kind = 'array') AS arrays, countIf(kind = 'object') AS objects,
    countIf(kind = 'text' AND match(value, '^"-?[0-9]{1,18}[.][0-9]{1,8}"$')) AS moneys,
    countIf(kind = 'text' AND match(value, '^"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"$'))
        AS datetimes,
    countIf(kind = 'text' AND match(value, '^"[^@\\s"]+@[^@\\s"]+[.][^@\\s"]+"$')) AS emails,
    countIf(kind = 'text' AND match(value, '^"[+]?[0-9(][0-9 ().-]{7,18}[0-9]"$')) AS phones,
    length(groupUniqArray(21)(value)) AS different,
    arraySort(groupUniqArrayIf(21)(value, kind IN ('text', 'integer') AND lengthUTF8(value) <= 66)) AS some
FROM
(
    SELECT event, section, pair.1 AS path, pair.2 AS value,
        multiIf(startsWith(value, '"'), 'text', startsWith(value, '['), 'array', startsWith(value, '{'), 'object',
            value IN ('true', 'false'), 'boolean', match(value, '^-?[0-9]+$'), 'integer', 'number') AS kind
    FROM
    (
        SELECT if(type = 'track', toString(name), concat('$', toString(type))) AS event,
            arrayConcat(
                arrayMap(p -> ('properties', p), JSONExtractKeysAndValuesRaw(properties)),
                arrayMap(p -> ('traits', p), JSONExtractKeysAndValuesRaw(traits))) AS pairs
        FROM event_store FINAL
        WHERE source = {source:String} AND received >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    )
    ARRAY JOIN pairs AS item
    ARRAY JOIN [item.1] AS section, [item.2] AS pair
    WHERE pair.2 != 'null' AND event IN {events:Array(String)}
)
GROUP BY event, section, path
ORDER BY event, section, present DESC, path
LIMIT {limit:UInt32} BY event
