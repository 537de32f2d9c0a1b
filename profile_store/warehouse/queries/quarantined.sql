-- Counted quarantine records: of the given topic before the given positions, and of everything else. One row.
WITH transform(toUInt32(greatest(partition, 0)), {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0)) AS position
SELECT
    uniqExactIf(id, topic = {topic:String} AND offset < position) AS of_events,
    uniqExactIf(id, topic != {topic:String}) AS elsewhere
FROM quarantine
WHERE counted
