"""What a worker makes of the records of `retries`: the last one of a key counts, and its own it knows already."""

from typing import Any

import pytest

from activation.retry_log import RetryLog
from activation.schedule import Schedule, Waiting
from runtime.bus.port import Outgoing, Partition, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, encode
from schemas.records import WaitingDelivery
from tests.support.transitions import transition

SETTINGS = Settings()
TOPIC = SETTINGS.topic("retries")
BOTH = frozenset({Partition(TOPIC, 0), Partition(TOPIC, 1), Partition(SETTINGS.topic("memberships"), 2)})


class RetryLogBench:
    """A retry log of the destination `hook`, and the log of each partition that it writes and reads."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.log = RetryLog(SETTINGS, "hook", self.schedule, 2)
        self.offsets = {0: 0, 1: 0}

    def append(self, outgoing: Outgoing) -> Record:
        number = outgoing.partition or 0
        offset = self.offsets[number]
        self.offsets[number] += 1
        return Record(outgoing.topic, number, offset, 0, outgoing.key, outgoing.value, outgoing.headers)

    def open(self) -> list[Record]:
        """Take over both partitions; return the markers, which are still to be read."""
        markers = [self.append(marker) for marker in self.log.markers(BOTH)]
        self.log.note_markers([(marker.partition, marker.offset) for marker in markers])
        return markers

    def foreign(self, key: str = "k", value: bytes | None = None, partition: int = 0) -> Record:
        return self.append(Outgoing(TOPIC, value, key=key.encode(), partition=partition))

    def due(self) -> list[str]:
        return [waiting.key for waiting in self.schedule.take_due(10**15, 10)]


def written(key: str = "k", **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "key": key, "destination": "hook", "transition": transition(), "offset": 7, "attempts": 2, "since_ms": 5, "due_ms": 9,
    }  # fmt: skip
    return encode(WaitingDelivery(**(values | changes)))


def test_nothing_is_sent_before_all_earlier_records_are_read() -> None:
    bench = RetryLogBench()
    earlier = bench.foreign(value=written())
    marker, other_marker = bench.open()
    assert not bench.log.may_send(0)
    bench.log.apply(earlier)
    assert not bench.log.may_send(0)
    assert bench.due() == []
    bench.log.apply(marker)
    assert bench.log.may_send(0)
    assert not bench.log.may_send(1)
    assert bench.due() == ["k"]
    bench.log.apply(other_marker)
    assert bench.log.may_send(1)


def test_the_last_record_of_a_key_counts() -> None:
    bench = RetryLogBench()
    records = [bench.foreign("k", written("k")), bench.foreign("l", written("l", transition=transition(profile_id="0" * 32)))]
    records += [bench.foreign("k"), bench.foreign("l", written("l", attempts=5))]
    records += [marker for marker in bench.open() if marker.partition == 0]
    for record in records:
        bench.log.apply(record)
    (waiting,) = bench.schedule
    assert waiting.key == "l"
    assert waiting.attempts == 5


def test_messages_of_other_destinations_are_passed_over() -> None:
    bench = RetryLogBench()
    bench.log.apply(bench.foreign(value=written(destination="other")))
    assert len(bench.schedule) == 0


def test_own_records_are_passed_over_and_those_of_a_later_session_are_read() -> None:
    bench, later = RetryLogBench(), RetryLogBench()
    waiting = Waiting("k", transition().profile_id, 0, 7, encode(transition()), 1, 5, 9)
    record = bench.append(bench.log.to_record(waiting, transition(), 503, "HTTP 503"))
    end = bench.append(bench.log.to_end(waiting))
    bench.open()
    bench.log.apply(record)
    assert len(bench.schedule) == 0
    later.log.apply(record)
    assert list(later.schedule) == [waiting]
    later.log.apply(end)
    assert len(later.schedule) == 0


def test_a_record_that_cannot_be_read_is_said_and_opens_the_way_like_any_other() -> None:
    bench = RetryLogBench()
    marker, _ = bench.open()
    bad = bench.foreign(value=b"not json")
    bench.log.apply(marker)
    with pytest.raises(Undecodable):
        bench.log.apply(bad)
    assert bench.log.may_send(0)


def test_messages_go_to_the_partition_of_their_transition_as_far_as_there_is_one() -> None:
    log = RetryLogBench().log
    assert [log.partition_for(number) for number in (0, 1, 2, 3)] == [0, 1, 0, 1]
