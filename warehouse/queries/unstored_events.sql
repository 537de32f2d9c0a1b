-- The records of messages that the ledger has as stored and of which the events table has no row, in one of `parts` parts of the owners.
SELECT tupleElement(place, 1) AS partition, tupleElement(place, 2) AS offset
FROM
(
    SELECT groupArray((partition, offset)) AS places
    FROM ledger FINAL
    WHERE outcome = 'stored' AND cityHash64(owner) % {parts:UInt32} = {part:UInt32}
        AND offset < transform(partition, {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0))
    GROUP BY owner, id_hash
    HAVING countIf((partition, offset) IN
        (SELECT partition, offset FROM event_store WHERE cityHash64(owner) % {parts:UInt32} = {part:UInt32})) = 0
)
ARRAY JOIN places AS place
ORDER BY partition, offset
