import random

from activation.offset_tracker import OffsetTracker
from runtime.bus.port import Partition

TOPIC_PARTITION = Partition("memberships", 0)


def test_offset_commits_only_below_the_oldest_open_record() -> None:
    progress = OffsetTracker()
    for offset in range(4):
        assert progress.begin(TOPIC_PARTITION, offset)
    progress.end(TOPIC_PARTITION, 2)
    progress.end(TOPIC_PARTITION, 1)
    assert progress.committable() == {}
    progress.end(TOPIC_PARTITION, 0)
    assert progress.committable() == {TOPIC_PARTITION: 3}
    progress.mark_committed({TOPIC_PARTITION: 3})
    assert progress.committable() == {}
    assert progress.in_flight_count == 1


def test_redelivered_record_is_not_started_twice() -> None:
    progress = OffsetTracker()
    assert progress.begin(TOPIC_PARTITION, 7)
    assert not progress.begin(TOPIC_PARTITION, 7)
    progress.end(TOPIC_PARTITION, 7)
    assert progress.committable() == {TOPIC_PARTITION: 8}


def test_any_order_of_ends_leads_to_the_end() -> None:
    offsets = list(range(100))
    progress = OffsetTracker()
    for offset in offsets:
        progress.begin(TOPIC_PARTITION, offset)
    random.Random(3).shuffle(offsets)
    done: set[int] = set()
    for offset in offsets:
        progress.end(TOPIC_PARTITION, offset)
        done.add(offset)
        assert set(range(progress.committable().get(TOPIC_PARTITION, 0))) <= done
    assert progress.committable() == {TOPIC_PARTITION: 100}
