-- Counted quarantine records: of the given topic before the given positions, and of everything else. One row.
-- A record of the topic that only a later stage could not digest (poison) is stored here, so it does not count.
WITH transform(toUInt32(greatest(partition, 0)), {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0)) AS position
SELECT
    uniqExactIf(id, topic = {topic:String} AND offset < position AND reason != 'poison') AS of_events,
    uniqExactIf(id, topic != {topic:String}) AS elsewhere
FROM quarantine
WHERE counted
