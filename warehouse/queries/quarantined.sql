-- Counted quarantine records: of the given topic before the given positions, those of them that were replayed, and of everything
-- else those that were not. One row. A replayed record is an event of its own by now.
-- A record of the topic that only a later stage could not digest (poison) is stored here, so it does not count.
WITH
    transform(toUInt32(greatest(partition, 0)), {partitions:Array(UInt32)}, {positions:Array(UInt64)}, toUInt64(0)) AS position,
    topic = {topic:String} AND offset < position AND reason != 'poison' AS of_topic,
    id IN (SELECT id FROM settlements GROUP BY id HAVING argMax(action, at) = 'replayed') AS replayed
SELECT
    uniqExactIf(id, of_topic) AS of_events,
    uniqExactIf(id, of_topic AND replayed) AS replayed_of_events,
    uniqExactIf(id, topic != {topic:String} AND NOT replayed) AS elsewhere
FROM quarantine
WHERE counted
