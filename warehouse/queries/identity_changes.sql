-- Every change of these profiles in the order of time.
SELECT profile_id, version, members, merged_into, split_from, cause, toUnixTimestamp64Milli(at) AS at_ms
FROM identity_changes
WHERE profile_id IN {profile_ids:Array(String)}
ORDER BY at_ms, version, profile_id
