from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.empty_offsets import EmptyOffsets, passed_over


def test_range_behind_the_last_record_is_passed_over() -> None:
    empty = EmptyOffsets[str]()
    empty.note("p", 2, 3)
    assert [empty.skip("p", offset) for offset in (0, 1, 2, 3, 4)] == [0, 1, 3, 3, 4]
    assert empty.skip("q", 2) == 2


def test_ranges_that_follow_each_other_are_one() -> None:
    empty = EmptyOffsets[str]()
    empty.note("p", 2, 3)
    empty.note("p", 3, 6)
    assert empty.skip("p", 2) == 6
    empty.note("p", 8, 9)
    assert empty.skip("p", 2) == 2
    assert empty.skip("p", 8) == 9


def test_unknown_positions_and_empty_ranges_say_nothing() -> None:
    assert passed_over(None, 5, None) == passed_over(3, None, 4) == (0, 0)
    empty = EmptyOffsets[str]()
    empty.note("p", 5, 5)
    empty.note("p", 5, 2)
    assert empty.skip("p", 2) == 2


@given(st.lists(st.booleans(), max_size=40), st.data())
def test_commit_behind_any_record_skips_no_record_and_comes_to_the_end_of_the_log(log: list[bool], data: st.DataObject) -> None:
    """The log is a list of whether a record lies at an offset. The polls read it in any steps."""
    empty, position, committed = EmptyOffsets[str](), 0, 0
    while position < len(log):
        after = data.draw(st.integers(position + 1, len(log)))
        polled = [offset for offset in range(position, after) if log[offset]]
        start, end = passed_over(position, after, polled[-1] if polled else None)
        empty.note("p", start, end)
        behind_last_record = polled[-1] + 1 if polled else committed
        committed = empty.skip("p", behind_last_record)
        assert not any(log[behind_last_record:committed])
        position = after
    assert committed == len(log)
