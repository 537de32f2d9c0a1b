-- The hours of a day with an unusual volume, the most unusual first.
SELECT source, event, toUnixTimestamp(hour) * 1000 AS hour_ms, events, usual, z
FROM volume_hourly
WHERE toDate(hour) = {day:Date} AND ({source:String} = '' OR source = {source:String}) AND abs(z) > 3.5
ORDER BY abs(z) DESC, source, event, hour
LIMIT {limit:UInt32}
