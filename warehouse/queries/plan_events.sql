-- How often a source sent each event since an instant, the most frequent first.
SELECT if(type = 'track', toString(name), concat('$', toString(type))) AS event, count() AS events
FROM event_store FINAL
WHERE source = {source:String} AND received >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
GROUP BY event
ORDER BY events DESC, event
LIMIT {limit:UInt32}
