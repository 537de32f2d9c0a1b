-- What the properties and traits of a source's events held since an instant: kinds of values, forms of texts, and the values
-- themselves (as JSON) where there are few. Nulls are absent.
SELECT event, section, path, count() AS present,
    countIf(kind = 'text') AS texts, countIf(kind = 'integer') AS integers, countIf(kind = 'number') AS numbers,
    countIf(kind = 'boolean') AS booleans, countIf(kind = 'array') AS arrays, countIf(kind = 'object') AS objects,
    countIf(kind = 'text' AND match(said, '^"-?[0-9]{1,18}[.][0-9]{1,8}"$')) AS moneys,
    countIf(kind = 'text' AND match(said, '^"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"$'))
        AS datetimes,
    countIf(kind = 'text' AND match(said, '^"[^@\\s"]+@[^@\\s"]+[.][^@\\s"]+"$')) AS emails,
    countIf(kind = 'text' AND match(said, '^"[+]?[0-9(][0-9 ().-]{7,18}[0-9]"$')) AS phones,
    length(groupUniqArray(21)(said)) AS different,
    arraySort(groupUniqArrayIf(21)(said, kind IN ('text', 'integer') AND lengthUTF8(said) <= 66)) AS some
FROM
(
    SELECT event, section, pair.1 AS path, pair.2 AS said,
        multiIf(startsWith(said, '"'), 'text', startsWith(said, '['), 'array', startsWith(said, '{'), 'object',
            said IN ('true', 'false'), 'boolean', match(said, '^-?[0-9]+$'), 'integer', 'number') AS kind
    FROM
    (
        SELECT if(type = 'track', toString(name), concat('$', toString(type))) AS event,
            arrayConcat(
                arrayMap(p -> ('properties', p), JSONExtractKeysAndValuesRaw(properties)),
                arrayMap(p -> ('traits', p), JSONExtractKeysAndValuesRaw(traits))) AS held
        FROM event_store FINAL
        WHERE source = {source:String} AND received >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    )
    ARRAY JOIN held AS one
    ARRAY JOIN [one.1] AS section, [one.2] AS pair
    WHERE pair.2 != 'null' AND event IN {events:Array(String)}
)
GROUP BY event, section, path
ORDER BY event, section, present DESC, path
LIMIT {limit:UInt32} BY event
