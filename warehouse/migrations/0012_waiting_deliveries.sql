-- A delivery may wait for its next attempt, which is due at `next`.
ALTER TABLE {database}.deliveries
    MODIFY COLUMN state Enum8('delivered' = 1, 'failed' = 2, 'skipped' = 3, 'waiting' = 4);

ALTER TABLE {database}.deliveries ADD COLUMN IF NOT EXISTS next DateTime64(3, 'UTC');

-- Where the transition lies in `memberships`: what a delivery says is read there again. -1 for transitions of earlier versions.
ALTER TABLE {database}.transitions
    ADD COLUMN IF NOT EXISTS partition Int32 DEFAULT -1,
    ADD COLUMN IF NOT EXISTS offset Int64 DEFAULT -1;

-- A row for each message to a destination, as it is now: `deliveries` has a row for each thing that became of it.
CREATE VIEW IF NOT EXISTS {database}.delivery_states AS
SELECT key, destination, profile_id, segment, op, seq, transition,
    last.1 AS state, last.2 AS verdict, last.3 AS attempts, last.4 AS status, last.5 AS detail, last.6 AS next, last.7 AS at
FROM
(
    SELECT key, any(destination) AS destination, any(profile_id) AS profile_id, any(segment) AS segment, any(op) AS op,
        any(seq) AS seq, any(transition) AS transition,
        argMax((state, verdict, attempts, status, detail, next, at), (at, state != 'waiting', attempts)) AS last
    FROM {database}.deliveries
    GROUP BY key
);
