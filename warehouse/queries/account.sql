-- The numbers of records before the given positions by their outcome. One row.
WITH transform(partition, {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0)) AS position
SELECT
    (SELECT count() FROM event_store FINAL WHERE offset < position) AS stored,
    countIf(outcome = 'stored') AS ledger_stored,
    uniqExactIf((owner, id_hash), outcome = 'stored') AS ledger_messages,
    countIf(outcome = 'suppressed') AS ledger_suppressed,
    countIf(outcome = 'quarantined') AS ledger_quarantined,
    countIf(offset < {first_offset:UInt64}) AS ledger_earlier
FROM ledger FINAL
WHERE offset < position
