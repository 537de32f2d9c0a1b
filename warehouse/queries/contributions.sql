-- The latest contribution of each profile to each group, including those of profiles that have left.
SELECT group_id, profile_id, toString(kind) AS kind, name, present, seq, rank, most, registers, counters,
    toUnixTimestamp64Milli(at) AS at_ms
FROM contribution_store FINAL
