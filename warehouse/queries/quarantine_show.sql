-- Records in quarantine whole.
SELECT id, stage, reason, detail, source, topic, partition, offset, toUnixTimestamp64Milli(at) AS at_ms, counted, raw,
    if(last.action = '', 'open', last.action) AS state, last.by AS by, last.because AS because
FROM (SELECT * FROM quarantine FINAL) AS held
LEFT JOIN
(
    SELECT id, toString(argMax(action, at)) AS action, argMax(by, at) AS by, argMax(because, at) AS because
    FROM settlements
    GROUP BY id
) AS last USING (id)
WHERE has({ids:Array(String)}, id)
