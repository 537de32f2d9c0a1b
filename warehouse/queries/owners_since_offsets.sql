-- The owners of the events at these offsets or later.
SELECT DISTINCT owner
FROM event_store
WHERE owner != '' AND offset >= transform(partition, {partitions:Array(UInt32)}, {starts:Array(UInt64)}, toUInt64(0))
