"""What a window makes of what happens while a look is under way, and of timers that stand in vain."""

from streams.assigned_partitions import AT_ONCE, NEVER
from streams.in_flight_timers import (LOOK_MS, UNASKED_MS, VAIN_MS, Window)

NOW = 1_750_000_000_000


def looked(window: Window, now_ms: int, *due: str, position: int = 0, room: int = 10, next_ms: int = NEVER) -> list[str]:
    """A look that finds these due at NOW; what is to be said."""
    window.see(position, NEVER, room)
    window.start(now_ms)
    return [name for name, _ in window.choose([(name, NOW) for name in due], next_ms, now_ms)]


def said(window: Window, *names: str, first: int = 0) -> None:
    for offset, name in enumerate(names, first):
        window.said(name, NOW, offset)


def test_a_timer_set_while_a_look_is_under_way_brings_the_next_one() -> None:
    window = Window()
    window.see(0, NEVER, 10)
    window.start(NOW)
    window.see(1, NOW + 70, 10)
    window.see(1, NEVER, 10)
    window.choose([], NEVER, NOW)
    assert window.next_ms == NOW + 70
    window.see(1, NOW + 60, 10)
    assert (window.wants(NOW + 59), window.wants(NOW + 60)) == (False, True)


def test_what_was_passed_while_a_look_was_under_way_is_not_said_again_for_what_it_found() -> None:
    window = Window()
    said(window, *looked(window, NOW, "a", "b"))
    window.start(NOW + 50)
    window.see(1, NEVER, 10)
    assert window.choose([("a", NOW), ("b", NOW)], NEVER, NOW + 50) == []
    assert looked(window, NOW + 100, "a", position=1) == []
    assert looked(window, NOW + 100 + VAIN_MS, "a", position=1) == ["a"]


def test_a_look_that_failed_has_seen_nothing() -> None:
    window = Window()
    said(window, *looked(window, NOW, "a"))
    window.see(1, NEVER, 10)
    window.start(NOW + 50)  # and no answer comes
    assert looked(window, NOW + 100, "a", position=1) == []
    assert looked(window, NOW + 100 + VAIN_MS, "a", position=1) == ["a"]


def test_no_more_is_said_than_there_is_room_for_and_the_rest_at_once_after_it() -> None:
    window = Window()
    said(window, *looked(window, NOW, "a", "b", "c", room=6))
    assert looked(window, NOW + 50, "d", "e", "f", "g", room=6, next_ms=NOW + 900) == ["d", "e", "f"]
    said(window, "d", "e", "f", first=3)
    window.see(6, NEVER, 6)
    assert window.wants(NOW + 51)


def test_with_half_of_the_room_taken_nothing_is_wanted() -> None:
    window = Window()
    said(window, *looked(window, NOW, "a", "b", "c", "d", room=4))
    for position, wants in ((0, False), (1, False), (2, True)):
        window.see(position, AT_ONCE, 4)
        assert window.wants(NOW + LOOK_MS) is wants


def test_a_timer_that_stands_in_vain_beyond_what_was_found_is_not_forgotten() -> None:
    window = Window()
    said(window, *looked(window, NOW, "z"))
    assert looked(window, NOW + 50, "z", position=1) == []
    early = [f"e{number}" for number in range(11)]
    assert looked(window, NOW + 60, *early, position=1) == early[:10]
    said(window, *early[:10], first=1)
    assert looked(window, NOW + 70, "z", position=1) == []
    assert looked(window, NOW + 80, position=11) == []  # it is gone
    assert looked(window, NOW + 90, "z", position=11) == ["z"]


def test_a_touch_that_went_to_another_place_is_taken_for_passed() -> None:
    window = Window()
    looked(window, NOW, "a")
    window.said("a", NOW, None)
    assert looked(window, NOW + UNASKED_MS, "a") == []
    assert looked(window, NOW + UNASKED_MS + VAIN_MS, "a") == ["a"]


def test_a_clock_that_went_back_does_not_stop_the_looks() -> None:
    window = Window()
    looked(window, NOW)
    window.see(0, NOW - 1_000_000, 10)
    assert window.wants(NOW - 1_000_000)
