from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Partition


async def test_commit_passes_the_offsets_behind_it_at_which_no_record_lies() -> None:
    """Kafka has such offsets where a transaction ends, the twin where it has compacted."""
    twin = MemoryBus()
    await twin.create_topics({"t": (1, {})})
    producer, consumer = await twin.producer(), await twin.consumer("g", ["t"])
    records = ((b"a", b"1"), (b"b", b"2"), (b"b", None), (b"c", None))
    await producer.send([Outgoing("t", value, key=key) for key, value in records])
    await twin.compact("t")
    partition = Partition("t", 0)
    assert [record.offset for record in (await consumer.poll(0, 10))[partition]] == [0]
    await consumer.commit({partition: 0})
    assert await twin.committed("g", "t") == {0: 0}
    await consumer.poll(0, 10)
    await consumer.commit({partition: 1})
    assert await twin.committed("g", "t") == {0: 4}
