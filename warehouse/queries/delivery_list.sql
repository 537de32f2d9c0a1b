-- Deliveries as they are now, the newest first. An empty parameter asks for all.
SELECT key, destination, profile_id, segment, op, seq, state, verdict, attempts, status, detail,
    toUnixTimestamp64Milli(transition) AS transition_ms, toUnixTimestamp64Milli(at) AS at_ms, toUnixTimestamp64Milli(next) AS next_ms
FROM delivery_states
WHERE ({state:String} = 'all' OR state = {state:String})
    AND ({destination:String} = '' OR destination = {destination:String})
    AND ({segment:String} = '' OR segment = {segment:String})
    AND ({profile_id:String} = '' OR profile_id = {profile_id:String})
    AND at >= fromUnixTimestamp64Milli({since_ms:Int64})
    AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
ORDER BY at DESC, key
LIMIT {limit:UInt32}
OFFSET {skip:UInt32}
