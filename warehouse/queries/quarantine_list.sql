-- Records in quarantine, the newest first. An empty parameter asks for all.
SELECT id, stage, reason, detail, source, topic, partition, offset, toUnixTimestamp64Milli(at) AS at_ms, counted,
    if(settlement.action = '', 'open', settlement.action) AS state, settlement.by AS by, settlement.because AS because
FROM (SELECT * FROM quarantine FINAL) AS record
LEFT JOIN
(
    SELECT id, toString(argMax(action, at)) AS action, argMax(by, at) AS by, argMax(because, at) AS because
    FROM settlements
    GROUP BY id
) AS settlement USING (id)
WHERE ({state:String} = 'all' OR state = {state:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND ({stage:String} = '' OR stage = {stage:String})
    AND ({source:String} = '' OR source = {source:String})
    AND record.at >= fromUnixTimestamp64Milli({since_ms:Int64})
    AND (empty({ids:Array(String)}) OR has({ids:Array(String)}, id))
ORDER BY record.at DESC, id
LIMIT {limit:UInt32}
OFFSET {skip:UInt32}
