-- Records in quarantine whole.
SELECT id, stage, reason, detail, source, topic, partition, offset, toUnixTimestamp64Milli(at) AS at_ms, counted, raw,
    if(settlement.action = '', 'open', settlement.action) AS state, settlement.by AS by, settlement.because AS because
FROM (SELECT * FROM quarantine FINAL) AS record
LEFT JOIN
(
    SELECT id, toString(argMax(action, at)) AS action, argMax(by, at) AS by, argMax(because, at) AS because
    FROM settlements
    GROUP BY id
) AS settlement USING (id)
WHERE has({ids:Array(String)}, id)
