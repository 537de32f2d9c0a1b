"""Of the messages that wait, the first one of each profile becomes due, in the order of the transitions."""

import random
from typing import Any

from activation.schedule import Schedule, Waiting

A, B = "0" + "a" * 31, "0" + "b" * 31


def waiting(key: str, offset: int, **changes: Any) -> Waiting:
    values: dict[str, Any] = {
        "key": key, "profile_id": A, "partition": 0, "offset": offset, "transition": b"{}", "attempts": 1, "since_ms": 0,
        "due_ms": 0,
    }  # fmt: skip
    return Waiting(**(values | changes))


def opened(*messages: Waiting) -> Schedule:
    schedule = Schedule()
    schedule.open_partition(0)
    for message in messages:
        schedule.put(message)
    return schedule


def due_keys(schedule: Schedule, now_ms: int = 0, limit: int = 10) -> list[str]:
    return [message.key for message in schedule.take_due(now_ms, limit)]


def test_a_message_is_due_at_its_instant_and_not_before() -> None:
    schedule = opened(waiting("m1", 1, due_ms=100))
    assert due_keys(schedule, 99) == []
    assert due_keys(schedule, 100) == ["m1"]


def test_a_later_message_of_a_profile_waits_for_the_earlier_one() -> None:
    first, second, other = waiting("m7", 7, due_ms=500), waiting("m9", 9), waiting("m8", 8, profile_id=B)
    schedule = opened(second, first, other)
    assert schedule.has_waiting(0, A)
    assert due_keys(schedule) == ["m8"]
    assert due_keys(schedule, 500) == ["m7"]
    assert due_keys(schedule, 500) == []
    schedule.remove("m7")
    schedule.release(first)
    assert due_keys(schedule, 500) == ["m9"]


def test_a_postponed_message_keeps_its_place() -> None:
    first, second = waiting("m7", 7), waiting("m9", 9)
    schedule = opened(first, second)
    assert due_keys(schedule) == ["m7"]
    schedule.put(waiting("m7", 7, attempts=2, due_ms=800))
    schedule.release(first)
    assert due_keys(schedule, 799) == []
    assert due_keys(schedule, 800) == ["m7"]


def test_the_limit_leaves_the_rest_due() -> None:
    schedule = opened(*(waiting(f"m{n}", n, profile_id=f"{n:032x}", due_ms=n) for n in range(5)))
    assert due_keys(schedule, 9, limit=2) == ["m0", "m1"]
    assert due_keys(schedule, 9, limit=0) == []
    assert due_keys(schedule, 9) == ["m2", "m3", "m4"]


def test_nothing_of_a_closed_partition_is_due() -> None:
    schedule = Schedule()
    schedule.put(waiting("m1", 1))
    assert due_keys(schedule) == []
    schedule.open_partition(0)
    assert due_keys(schedule) == ["m1"]


def test_the_size_follows_what_waits() -> None:
    schedule = opened(waiting("m1", 1, transition=b"12345"), waiting("m2", 2, transition=b"123"))
    schedule.put(waiting("m1", 1, transition=b"1"))
    assert schedule.bytes == 4
    assert len(schedule) == 2
    schedule.remove("m2")
    schedule.remove("unknown")
    assert schedule.bytes == 1


def test_every_message_ends_in_the_order_of_its_profile_whatever_happens_before() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        messages = [waiting(f"m{n}", n, profile_id=rng.choice((A, B)), due_ms=rng.randrange(50)) for n in range(30)]
        schedule, ended, now_ms = opened(*rng.sample(messages, len(messages))), list[Waiting](), 0
        while len(schedule):
            now_ms += 5
            for message in schedule.take_due(now_ms, rng.randrange(3)):
                if rng.random() < 0.5:
                    schedule.put(waiting(message.key, message.offset, profile_id=message.profile_id, due_ms=now_ms + 20))
                else:
                    schedule.remove(message.key)
                    ended.append(message)
                schedule.release(message)
        for profile_id in (A, B):
            offsets = [message.offset for message in ended if message.profile_id == profile_id]
            assert offsets == sorted(offsets)
        assert {message.key for message in ended} == {message.key for message in messages}
