"""Timers in flight: what changes while a poll is under way, how many are emitted at once, and what becomes of stuck timers."""

from schemas.instants import NEVER
from streams.assigned_partitions import AT_ONCE
from streams.in_flight_timers import IDLE_POLL_INTERVAL_MS, STUCK_RETRY_MS, InFlightTimers

NOW_MS = 1_750_000_000_000


def poll(timers: InFlightTimers, now_ms: int, *due: str, position: int = 0, room: int = 10, next_ms: int = NEVER) -> list[str]:
    """Poll a store in which these timers are due at NOW_MS. Returns those to emit."""
    timers.update(position, NEVER, room)
    timers.begin_poll()
    return [name for name, _ in timers.select([(name, NOW_MS) for name in due], next_ms, now_ms)]


def mark_sent(timers: InFlightTimers, *names: str, first: int = 0) -> None:
    for offset, name in enumerate(names, first):
        timers.mark_emitted(name, NOW_MS, offset)


def test_timer_set_during_a_poll_schedules_the_next_poll() -> None:
    timers = InFlightTimers()
    timers.update(0, NEVER, 10)
    timers.begin_poll()
    timers.update(1, NOW_MS + 70, 10)
    timers.update(1, NEVER, 10)
    timers.select([], NEVER, NOW_MS)
    assert timers.next_ms == NOW_MS + 70
    timers.update(1, NOW_MS + 60, 10)
    assert not timers.should_poll(NOW_MS + 59)
    assert timers.should_poll(NOW_MS + 60)


def test_timer_evaluated_during_a_poll_is_not_sent_again_from_that_poll() -> None:
    timers = InFlightTimers()
    mark_sent(timers, *poll(timers, NOW_MS, "a", "b"))
    timers.begin_poll()
    timers.update(1, NEVER, 10)
    assert timers.select([("a", NOW_MS), ("b", NOW_MS)], NEVER, NOW_MS + 50) == []
    assert poll(timers, NOW_MS + 100, "a", position=1) == []
    assert poll(timers, NOW_MS + 100 + STUCK_RETRY_MS, "a", position=1) == ["a"]


def test_failed_poll_proves_nothing_about_timers() -> None:
    timers = InFlightTimers()
    mark_sent(timers, *poll(timers, NOW_MS, "a"))
    timers.update(1, NEVER, 10)
    timers.begin_poll()  # and no answer comes
    assert poll(timers, NOW_MS + 100, "a", position=1) == []
    assert poll(timers, NOW_MS + 100 + STUCK_RETRY_MS, "a", position=1) == ["a"]


def test_timers_beyond_capacity_are_sent_as_soon_as_there_is_room() -> None:
    timers = InFlightTimers()
    mark_sent(timers, *poll(timers, NOW_MS, "a", "b", "c", room=6))
    assert poll(timers, NOW_MS + 50, "d", "e", "f", "g", room=6, next_ms=NOW_MS + 900) == ["d", "e", "f"]
    mark_sent(timers, "d", "e", "f", first=3)
    timers.update(6, NEVER, 6)
    assert timers.should_poll(NOW_MS + 51)


def test_no_poll_while_half_of_the_capacity_is_in_flight() -> None:
    timers = InFlightTimers()
    mark_sent(timers, *poll(timers, NOW_MS, "a", "b", "c", "d", room=4))
    for position, expected in ((0, False), (1, False), (2, True)):
        timers.update(position, AT_ONCE, 4)
        assert timers.should_poll(NOW_MS + 50) is expected


def test_stuck_timer_outside_the_polled_batch_is_remembered() -> None:
    timers = InFlightTimers()
    mark_sent(timers, *poll(timers, NOW_MS, "z"))
    assert poll(timers, NOW_MS + 50, "z", position=1) == []
    early = [f"e{number}" for number in range(11)]
    assert poll(timers, NOW_MS + 60, *early, position=1) == early[:10]
    mark_sent(timers, *early[:10], first=1)
    assert poll(timers, NOW_MS + 70, "z", position=1) == []
    assert poll(timers, NOW_MS + 80, position=11) == []  # it was evaluated
    assert poll(timers, NOW_MS + 90, "z", position=11) == ["z"]


def test_touch_sent_to_another_topic_partition_counts_as_evaluated() -> None:
    timers = InFlightTimers()
    poll(timers, NOW_MS, "a")
    timers.mark_emitted("a", NOW_MS, None)
    assert poll(timers, NOW_MS + IDLE_POLL_INTERVAL_MS, "a") == []
    assert poll(timers, NOW_MS + IDLE_POLL_INTERVAL_MS + STUCK_RETRY_MS, "a") == ["a"]


def test_clock_going_back_does_not_stop_polling() -> None:
    timers = InFlightTimers()
    poll(timers, NOW_MS)
    timers.update(0, NOW_MS - 1_000_000, 10)
    assert timers.should_poll(NOW_MS - 1_000_000)


def test_worked_example_of_the_module_holds() -> None:
    timers = InFlightTimers()

    def poll_at(now_ms: int, *due: str) -> list[str]:
        assert timers.should_poll(now_ms)
        limit = timers.begin_poll()
        return [name for name, _ in timers.select([(name, 1_000) for name in due][:limit], NEVER, now_ms)]

    timers.update(position=7, earliest_set_ms=AT_ONCE, room=2)
    assert poll_at(1_000, "a", "b", "c") == ["a", "b"]
    timers.mark_emitted("a", 1_000, 7)
    timers.mark_emitted("b", 1_000, 8)
    timers.update(position=7, earliest_set_ms=NEVER, room=2)
    assert not timers.should_poll(1_010)
    timers.update(position=8, earliest_set_ms=NEVER, room=2)
    assert poll_at(1_020, "b", "c") == ["c"]
    timers.mark_emitted("c", 1_000, 9)
    timers.update(position=10, earliest_set_ms=NEVER, room=2)
    assert poll_at(1_030, "c") == []
    assert timers.next_ms == 1_130
    assert poll_at(1_130, "c") == ["c"]
