SELECT toString(op) AS op, toUnixTimestamp64Milli(at) AS at_ms, toUnixTimestamp64Milli(evaluated_at) AS evaluated_ms, cause, event_id,
    seq, segment_version
FROM transitions FINAL
WHERE profile_id = {profile_id:String} AND segment = {segment:String}
ORDER BY seq DESC
LIMIT 1
