-- The number of events with these labels; an estimate, because duplicates that are not merged yet are counted.
SELECT count()
FROM event_store
WHERE if(type = 'track', toString(name), concat('$', toString(type))) IN {labels:Array(String)}
