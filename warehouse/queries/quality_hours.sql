-- The hours of a day whose volume is not as usual, the farthest first.
SELECT source, event, toUnixTimestamp(hour) * 1000 AS hour_ms, events, usual, z
FROM volume_hourly
WHERE toDate(hour) = {day:Date} AND ({source:String} = '' OR source = {source:String}) AND abs(z) > 3.5
ORDER BY abs(z) DESC, source, event, hour
LIMIT {limit:UInt32}
