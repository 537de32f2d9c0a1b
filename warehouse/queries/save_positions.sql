-- A statement and no data, so that saving a position costs one round through the engine.
INSERT INTO positions (topic, partition, next_offset)
SELECT {topic:String}, tupleElement(pair, 1), tupleElement(pair, 2)
FROM (SELECT arrayJoin(arrayZip({partitions:Array(UInt32)}, {offsets:Array(UInt64)})) AS pair)
