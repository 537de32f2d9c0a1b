-- The latest transition of every profile and segment.
SELECT profile_id, segment, max(seq) AS last_seq, argMax(op, seq) AS last_op, toUnixTimestamp64Milli(argMax(at, seq)) AS at_ms,
    argMax(cause, seq) AS last_cause
FROM transitions
GROUP BY profile_id, segment
ORDER BY profile_id, segment
