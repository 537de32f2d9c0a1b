import random

from activation.offset_tracker import Progress
from runtime.bus.port import Partition

HERE = Partition("memberships", 0)


def test_only_what_has_no_open_record_before_it_is_committed() -> None:
    progress = Progress()
    for offset in range(4):
        assert progress.begin(HERE, offset)
    progress.end(HERE, 2)
    progress.end(HERE, 1)
    assert progress.due() == {}
    progress.end(HERE, 0)
    assert progress.due() == {HERE: 3}
    progress.committed({HERE: 3})
    assert progress.due() == {}
    assert progress.waiting == 1


def test_a_record_that_is_read_again_is_not_begun_twice() -> None:
    progress = Progress()
    assert progress.begin(HERE, 7)
    assert not progress.begin(HERE, 7)
    progress.end(HERE, 7)
    assert progress.due() == {HERE: 8}


def test_any_order_of_ends_leads_to_the_end() -> None:
    offsets = list(range(100))
    progress = Progress()
    for offset in offsets:
        progress.begin(HERE, offset)
    random.Random(3).shuffle(offsets)
    done: set[int] = set()
    for offset in offsets:
        progress.end(HERE, offset)
        done.add(offset)
        assert set(range(progress.due().get(HERE, 0))) <= done
    assert progress.due() == {HERE: 100}
