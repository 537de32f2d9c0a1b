-- The last transition of every profile and segment.
SELECT profile_id, segment, max(seq) AS last_seq, argMax(op, seq) AS op, toUnixTimestamp64Milli(argMax(at, seq)) AS at_ms
FROM transitions
GROUP BY profile_id, segment
