-- Offsets before the given positions of which the ledger has no row, as ranges: from `first` up to, but without, `behind`.
-- The positions themselves stand behind the last row of each partition, so that a gap at the end is one too.
SELECT partition, first, behind
FROM
(
    SELECT partition, place AS behind,
        lagInFrame(place, 1, toInt64(-1)) OVER (PARTITION BY partition ORDER BY place ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) + 1 AS first
    FROM
    (
        SELECT partition, toInt64(offset) AS place
        FROM ledger
        WHERE offset < transform(partition, {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0))
        UNION ALL
        SELECT tupleElement(pair, 1) AS partition, toInt64(tupleElement(pair, 2)) AS place
        FROM (SELECT arrayJoin(arrayZip({partitions:Array(UInt32)}, {positions:Array(UInt64)})) AS pair)
    )
)
WHERE behind > first
ORDER BY partition, first
