-- Everything that became of one delivery, in order.
SELECT state, verdict, attempts, status, detail, toUnixTimestamp64Milli(at) AS at_ms, toUnixTimestamp64Milli(next) AS next_ms
FROM (SELECT * FROM deliveries FINAL)
WHERE key = {key:String}
ORDER BY at, attempts
