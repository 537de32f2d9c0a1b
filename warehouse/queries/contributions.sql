-- What each profile contributes to each group as of its last record, those that left too.
SELECT group_id, profile_id, toString(kind) AS kind, name, present, seq, rank, most, traits, counters,
    toUnixTimestamp64Milli(at) AS at_ms
FROM contribution_store FINAL
