-- About how many events have these labels.
SELECT count()
FROM event_store
WHERE if(type = 'track', toString(name), concat('$', toString(type))) IN {labels:Array(String)}
