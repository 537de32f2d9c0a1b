"""What every profile store promises: one suite, on the twin, on Redis and on a cluster of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from domain.identity.model import Decision, Edge, Label, Members, Neighbours
from profile_store import encoding, redis_base
from profile_store.keys import KIND_LETTERS, WRITER_PAUSE_MS
from profile_store.port import Checkpoint, DocumentKind, GuardedDocument, ProfileStore, ScannableKind, TopicPartition, Writes
from runtime.bus.epochs import AdoptedLog, LogIdentity
from runtime.clock import ManualClock
from runtime.errors import StateLost
from tests.support.stores import STORES, store_named

PARTITION = TopicPartition("events", 1, 4)
DOCUMENTS: tuple[DocumentKind, ...] = ("fragment", "membership", "group", "link_outbox", "backfill_checkpoint")
KINDS = ("fragment", "membership", "group", "link_outbox", "backfill_checkpoint", "label", "members", "edges", "timer", "position")
EDGE = Edge(1_700_000_000_000, "Đơn hàng 1", 1_700_086_400_000, "Đơn hàng 2", "cửa hàng", "a", "together", "quy tắc 3")
CUT = Decision(on=True, at_ms=5, operation="Nguyễn cắt")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[ProfileStore]:
    async with store_named(request, clock) as store:
        yield store


def fragment(offset: int, data: bytes | None = b"data", topic_partition: TopicPartition = PARTITION) -> Writes:
    return Writes(documents={("fragment", "a"): GuardedDocument(data, topic_partition.guard_name, offset)})


async def stored(store: ProfileStore) -> GuardedDocument:
    return (await store.documents("fragment", ["a"]))["a"]


async def test_missing_documents_read_as_defaults(store: ProfileStore) -> None:
    checkpoint, documents, labels = await store.load(PARTITION, "fragment", ["a", "b"], ["n"])
    assert checkpoint == Checkpoint(position=None, paused=False)
    assert documents == {"a": GuardedDocument(), "b": GuardedDocument()}
    assert labels == {"n": Label("n", 0)}
    assert await store.members(["p"]) == {"p": Members(("p",), 0)}
    assert await store.neighbours(["n"]) == {"n": Neighbours()}
    assert await store.next_timer(PARTITION) is None
    assert await store.due_timers(PARTITION, 1 << 50, 10) == []


async def test_empty_request_returns_empty_answer(store: ProfileStore) -> None:
    assert await store.load(PARTITION, "membership", []) == (Checkpoint(position=None, paused=False), {}, {})
    assert await store.documents("fragment", []) == {}
    assert await store.labels([]) == {}
    assert await store.members([]) == {}
    assert await store.neighbours([]) == {}


async def test_duplicate_ids_in_one_request_are_answered(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 8, fragment(7))
    _, documents, labels = await store.load(PARTITION, "fragment", ["a", "b", "a"], ["n", "n"])
    assert documents == {"a": GuardedDocument(b"data", PARTITION.guard_name, 7), "b": GuardedDocument()}
    assert labels == {"n": Label("n", 0)}


async def test_a_slice_is_read_back_as_it_was_written(store: ProfileStore) -> None:
    merged = Members((), 5, merged_into="p", cause="sự kiện 9", at_ms=1_700_000_000_001)
    split = Members(("a", "b"), 4, split_from="q", cause="thao tác 2", at_ms=1_700_000_000_002)
    writes = Writes(
        documents={
            ("fragment", "a"): GuardedDocument(b"\x00\n\xff \r\n", PARTITION.guard_name, 7),
            ("membership", "a"): GuardedDocument(b"", PARTITION.guard_name, 9),
            ("link_outbox", PARTITION.guard_name): GuardedDocument(b'["p"]', PARTITION.guard_name, 9),
        },
        labels={"a": Label("p", 3), "b": Label("p", 4)},
        members={"p": split, "q": merged},
        edges={("a", "b"): EDGE},
        decisions={("cut", "a", "b"): CUT},
        timers={"p": 50},
    )
    assert await store.save(PARTITION, None, 10, writes) == frozenset()
    checkpoint, documents, labels = await store.load(PARTITION, "fragment", ["a"], ["a", "b"])
    assert checkpoint == Checkpoint(position=10, paused=False)
    assert documents == {"a": GuardedDocument(b"\x00\n\xff \r\n", PARTITION.guard_name, 7)}
    assert labels == {"a": Label("p", 3), "b": Label("p", 4)}
    assert await store.documents("membership", ["a"]) == {"a": GuardedDocument(b"", PARTITION.guard_name, 9)}
    assert await store.documents("link_outbox", [PARTITION.guard_name]) == {
        PARTITION.guard_name: GuardedDocument(b'["p"]', PARTITION.guard_name, 9)
    }
    assert await store.members(["p", "q"]) == {"p": split, "q": merged}
    assert await store.neighbours(["a", "b"]) == {
        "a": Neighbours({"b": EDGE}, {("cut", "b"): CUT}),
        "b": Neighbours({"a": EDGE}, {("cut", "a"): CUT}),
    }
    assert await store.due_timers(PARTITION, 50, 10) == [("p", 50)]


@pytest.mark.parametrize("offset", [7, 6, 0])
async def test_an_offset_that_is_not_larger_is_refused(store: ProfileStore, offset: int) -> None:
    await store.save(PARTITION, None, 8, fragment(7, b"first"))
    assert await store.save(PARTITION, 8, 8, fragment(offset, b"late")) == {("fragment", "a")}
    assert await stored(store) == GuardedDocument(b"first", PARTITION.guard_name, 7)


async def test_a_larger_offset_is_taken_as_a_number_not_as_text(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 10, fragment(9, b"first"))
    assert await store.save(PARTITION, 10, 11, fragment(10, b"second")) == frozenset()
    assert await stored(store) == GuardedDocument(b"second", PARTITION.guard_name, 10)


async def test_an_offset_beyond_32_bits_is_exact(store: ProfileStore) -> None:
    huge = (1 << 53) - 1
    await store.save(PARTITION, None, huge, fragment(huge - 1))
    assert await store.save(PARTITION, huge, huge, fragment(huge - 1)) == {("fragment", "a")}
    assert await store.save(PARTITION, huge, huge + 1, fragment(huge)) == frozenset()
    assert await store.checkpoint(PARTITION) == Checkpoint(position=huge + 1, paused=False)


async def test_changed_partition_count_accepts_a_smaller_offset(store: ProfileStore) -> None:
    after = replace(PARTITION, partition_count=8)
    await store.save(PARTITION, None, 101, fragment(100, b"before"))
    assert await store.save(after, None, 1, fragment(0, b"after", after)) == frozenset()
    document = await stored(store)
    assert document == GuardedDocument(b"after", after.guard_name, 0)
    assert document.applied_offset(after) == 0
    assert document.applied_offset(PARTITION) == -1


async def test_kinds_do_not_share_documents(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 8, fragment(7))
    assert await store.documents("membership", ["a"]) == {"a": GuardedDocument()}


async def test_only_the_refused_documents_are_named(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 6, Writes(documents={("fragment", "b"): GuardedDocument(b"1", PARTITION.guard_name, 5)}))
    writes = Writes(documents={("fragment", name): GuardedDocument(b"2", PARTITION.guard_name, 4) for name in ("a", "b", "c")})
    assert await store.save(PARTITION, 6, 6, writes) == {("fragment", "b")}
    assert {name: d.data for name, d in (await store.documents("fragment", ["a", "b", "c"])).items()} == {
        "a": b"2", "b": b"1", "c": b"2"
    }  # fmt: skip


async def test_a_document_without_data_keeps_its_guard(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 8, fragment(7))
    await store.save(PARTITION, 8, 9, fragment(8, None))
    assert await stored(store) == GuardedDocument(None, PARTITION.guard_name, 8)
    assert [pair async for pair in store.scan("fragment")] == []
    assert await store.save(PARTITION, 9, 9, fragment(7, b"late")) == {("fragment", "a")}


async def test_a_guard_that_cannot_be_stored_is_refused_before_anything_is_written(store: ProfileStore) -> None:
    for guard in ("two\nlines", "x" * 200):
        with pytest.raises(ValueError, match="guard"):
            await store.save(PARTITION, None, 1, Writes(documents={("fragment", "a"): GuardedDocument(b"", guard, 0)}))
    assert await store.checkpoint(PARTITION) == Checkpoint(position=None, paused=False)


@pytest.mark.parametrize("expected", [None, 7, 9])
async def test_an_unexpected_position_raises_state_lost_and_changes_nothing(store: ProfileStore, expected: int | None) -> None:
    await store.save(PARTITION, None, 8, fragment(7, b"first"))
    writes = Writes(
        documents={("fragment", "a"): GuardedDocument(b"zombie", PARTITION.guard_name, 20)},
        labels={"n": Label("zombie", 9)},
        members={"p": Members(("zombie",), 9)},
        edges={("n", "p"): Edge(1, "zombie", 1, "zombie", "zombie")},
        decisions={("cut", "n", "p"): CUT},
        timers={"p": 1},
    )
    with pytest.raises(StateLost):
        await store.save(PARTITION, expected, 21, writes)
    checkpoint, documents, labels = await store.load(PARTITION, "fragment", ["a"], ["n"])
    assert checkpoint.position == 8
    assert documents == {"a": GuardedDocument(b"first", PARTITION.guard_name, 7)}
    assert labels == {"n": Label("n", 0)}
    assert await store.members(["p"]) == {"p": Members(("p",), 0)}
    assert await store.neighbours(["n"]) == {"n": Neighbours()}
    assert await store.next_timer(PARTITION) is None


async def test_a_position_that_vanished_is_state_lost(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 8, fragment(7))
    await store.wipe(["position"])
    with pytest.raises(StateLost):
        await store.save(PARTITION, 8, 9, fragment(8))


async def test_position_zero_is_not_the_same_as_none(store: ProfileStore) -> None:
    await store.save(PARTITION, None, 0, Writes())
    with pytest.raises(StateLost):
        await store.save(PARTITION, None, 1, Writes())
    await store.save(PARTITION, 0, 1, Writes())
    assert (await store.checkpoint(PARTITION)).position == 1


async def test_each_topic_partition_has_its_own_position(store: ProfileStore) -> None:
    other = replace(PARTITION, partition=2)
    await store.save(PARTITION, None, 8, Writes())
    assert (await store.checkpoint(other)).position is None
    await store.save(other, None, 3, Writes())
    assert (await store.checkpoint(PARTITION)).position == 8


async def test_a_zombie_between_load_and_save_is_fenced(store: ProfileStore) -> None:
    zombie, _, _ = await store.load(PARTITION, "fragment", ["a"])
    successor, _, _ = await store.load(PARTITION, "fragment", ["a"])
    await store.save(PARTITION, successor.position, 5, fragment(4, b"successor"))
    with pytest.raises(StateLost):
        await store.save(PARTITION, zombie.position, 3, fragment(2, b"zombie"))
    assert await stored(store) == GuardedDocument(b"successor", PARTITION.guard_name, 4)
    assert (await store.checkpoint(PARTITION)).position == 5


async def test_a_zombie_that_saves_first_is_overtaken_by_its_successor(store: ProfileStore) -> None:
    successor, _, _ = await store.load(PARTITION, "fragment", ["a"])
    await store.save(PARTITION, None, 3, fragment(2, b"zombie"))
    with pytest.raises(StateLost):
        await store.save(PARTITION, successor.position, 5, fragment(4, b"successor"))
    again, _, _ = await store.load(PARTITION, "fragment", ["a"])
    assert await store.save(PARTITION, again.position, 5, fragment(4, b"successor")) == frozenset()
    assert await stored(store) == GuardedDocument(b"successor", PARTITION.guard_name, 4)


async def test_edges_of_a_node_accumulate_and_the_last_value_of_a_pair_wins(store: ProfileStore) -> None:
    first, earlier, other = Edge(5, "e5", 5, "e5", "web"), Edge(3, "e3", 3, "e3", "app"), Edge(9, "e9", 9, "e9", "web")
    await store.save(PARTITION, None, 1, Writes(edges={("a", "b"): first, ("a", "c"): other}))
    await store.save(PARTITION, 1, 2, Writes(edges={("a", "b"): first.join(earlier)}))
    assert await store.neighbours(["a"]) == {"a": Neighbours({"b": Edge(3, "e3", 3, "e3", "app"), "c": other})}


async def test_decision_is_stored_at_both_nodes_and_replaced_by_a_later_one(store: ProfileStore) -> None:
    apart, undone = Decision(on=True, at_ms=6, operation="tách đôi"), Decision(on=False, at_ms=9, operation="hoàn tác")
    await store.save(PARTITION, None, 1, Writes(decisions={("cut", "a", "b"): CUT, ("apart", "a", "b"): apart}))
    await store.save(PARTITION, 1, 2, Writes(edges={("a", "b"): EDGE}, decisions={("cut", "a", "b"): undone}))
    assert await store.neighbours(["a", "b", "c"]) == {
        "a": Neighbours({"b": EDGE}, {("cut", "b"): undone, ("apart", "b"): apart}),
        "b": Neighbours({"a": EDGE}, {("cut", "a"): undone, ("apart", "a"): apart}),
        "c": Neighbours(),
    }


async def test_node_above_the_field_limit_is_crowded(store: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encoding, redis_base):
        monkeypatch.setattr(module, "MAX_FIELDS", 4)
    full = {("a", f"n{number}"): EDGE for number in range(3)}
    await store.save(PARTITION, None, 1, Writes(edges=full, decisions={("cut", "a", "n0"): CUT}))
    assert len((await store.neighbours(["a"]))["a"].edges) == 3
    await store.save(PARTITION, 1, 2, Writes(decisions={("apart", "a", "n1"): CUT}))
    neighbours = await store.neighbours(["n0", "a"])
    assert neighbours == {"n0": Neighbours({"a": EDGE}, {("cut", "a"): CUT}), "a": Neighbours(crowded=True)}
    assert {node for node, _ in [pair async for pair in store.scan("edges")]} == {"a", "n0", "n1", "n2"}


async def test_members_are_replaced_as_a_whole(store: ProfileStore) -> None:
    split = Members(("a",), 2, split_from="q", cause="thao tác", at_ms=7)
    await store.save(PARTITION, None, 1, Writes(members={"p": split}, labels={"a": Label("p", 2)}))
    later = Members((), 5, merged_into="Trần", cause="e", at_ms=8)
    await store.save(PARTITION, 1, 2, Writes(members={"p": later}, labels={"a": Label("Trần", 5)}))
    assert await store.members(["p"]) == {"p": later}
    assert await store.labels(["a"]) == {"a": Label("Trần", 5)}


async def test_pause_of_writers_is_visible_and_released(store: ProfileStore) -> None:
    await store.pause_writers(True)
    assert (await store.checkpoint(PARTITION)).paused
    assert (await store.load(PARTITION, "fragment", ["a"]))[0].paused
    await store.pause_writers(False)
    assert not (await store.checkpoint(PARTITION)).paused


async def test_pause_of_writers_expires_unless_renewed(store: ProfileStore, clock: ManualClock) -> None:
    await store.pause_writers(True)
    clock.advance(WRITER_PAUSE_MS - 1)
    assert (await store.checkpoint(PARTITION)).paused
    await store.pause_writers(True)
    clock.advance(WRITER_PAUSE_MS - 1)
    assert (await store.checkpoint(PARTITION)).paused
    clock.advance(1)
    assert not (await store.checkpoint(PARTITION)).paused


async def test_settled_delivery_is_remembered_for_its_ttl(store: ProfileStore, clock: ManualClock) -> None:
    assert await store.is_delivery_open("k")
    assert await store.is_delivery_open("k")
    await store.settle_delivery("k", 60_000)
    assert not await store.is_delivery_open("k")
    assert await store.is_delivery_open("other")
    clock.advance(59_999)
    assert not await store.is_delivery_open("k")
    clock.advance(1)
    assert await store.is_delivery_open("k")


async def test_the_kafka_log_that_the_positions_stand_for_is_remembered_and_not_wiped(store: ProfileStore) -> None:
    assert await store.adopted_log() is None
    for adopted in (AdoptedLog(0, LogIdentity("c", {})), AdoptedLog(3, LogIdentity("cụm", {"onefold.events": "0" * 32}), "f")):
        await store.adopt_log(adopted)
        await store.wipe(KIND_LETTERS)
        assert await store.adopted_log() == adopted


async def test_a_run_is_claimed_once(store: ProfileStore) -> None:
    assert await store.claim_run("reconcile:5", 60_000)
    assert not await store.claim_run("reconcile:5", 60_000)
    assert await store.claim_run("reconcile:6", 60_000)
    assert await store.is_delivery_open("reconcile:5")


async def written_in_full(store: ProfileStore) -> None:
    writes = Writes(
        documents={
            (kind, name): GuardedDocument(name.encode(), PARTITION.guard_name, 1) for kind in DOCUMENTS for name in ("a", "b")
        },
        labels={"a": Label("p", 1), "b": Label("p", 2)},
        members={"p": Members(("a", "b"), 2, cause="Thị", at_ms=4)},
        edges={("a", "b"): Edge(1, "Nguyễn", 2, "Thị", "cửa hàng"), ("a", "c"): EDGE},
        decisions={("apart", "a", "c"): CUT},
        timers={"p": 10},
    )
    await store.save(PARTITION, None, 2, writes)


async def test_scan_yields_every_entry_once_byte_for_byte(store: ProfileStore) -> None:
    await written_in_full(store)
    edge, plain, cut = (
        '[1700000000000,"Đơn hàng 1",1700086400000,"Đơn hàng 2","cửa hàng","a","together","quy tắc 3",true]',
        '[1,"Nguyễn",2,"Thị","cửa hàng","","together","",true]',
        '[true,5,"Nguyễn cắt"]',
    )
    expected: list[tuple[ScannableKind, list[tuple[str, bytes]]]] = [
        ("fragment", [("a", b"a"), ("b", b"b")]),
        ("membership", [("a", b"a"), ("b", b"b")]),
        ("group", [("a", b"a"), ("b", b"b")]),
        ("label", [("a", b"1 p"), ("b", b"2 p")]),
        ("members", [("p", '[["a","b"],2,"","","Thị",4]'.encode())]),
        ("edges", [("a", f'{{"!c":{cut},"b":{plain},"c":{edge}}}'.encode()), ("b", f'{{"a":{plain}}}'.encode()),
                   ("c", f'{{"!a":{cut},"a":{edge}}}'.encode())]),
    ]  # fmt: skip
    for kind, pairs in expected:
        assert sorted([pair async for pair in store.scan(kind)]) == pairs
    neighbours = {node: encoding.unpack_scanned_neighbours(value) async for node, value in store.scan("edges")}
    assert neighbours["c"] == {"!a": CUT, "a": EDGE}


async def test_multi_page_scan_yields_every_entry_once(store: ProfileStore) -> None:
    labels = {f"{number:032x}": Label("p", number) for number in range(3000)}
    await store.save(PARTITION, None, 1, Writes(labels=labels))
    actual = [node async for node, _ in store.scan("label")]
    assert sorted(actual) == sorted(labels)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wipe_takes_its_kind_and_nothing_else(store: ProfileStore, kind: str) -> None:
    await written_in_full(store)
    await store.wipe([kind])
    remaining = {
        "fragment": (await stored(store)).data is not None,
        "membership": (await store.documents("membership", ["a"]))["a"].data is not None,
        "group": (await store.documents("group", ["a"]))["a"].data is not None,
        "link_outbox": (await store.documents("link_outbox", ["a"]))["a"].data is not None,
        "backfill_checkpoint": (await store.documents("backfill_checkpoint", ["a"]))["a"].data is not None,
        "label": (await store.labels(["a"]))["a"].version > 0,
        "members": (await store.members(["p"]))["p"].version > 0,
        "edges": (await store.neighbours(["a"]))["a"] != Neighbours(),
        "timer": await store.next_timer(PARTITION) is not None,
        "position": (await store.checkpoint(PARTITION)).position is not None,
    }
    assert remaining == {name: name != kind for name in KINDS}


async def test_an_unknown_kind_is_not_wiped(store: ProfileStore) -> None:
    await written_in_full(store)
    with pytest.raises(ValueError, match="cannot be wiped"):
        await store.wipe(["fragment", "everything"])
    assert (await stored(store)).data == b"a"


async def test_a_thousand_documents_are_saved_and_loaded(store: ProfileStore) -> None:
    names = [f"{number:032x}" for number in range(1000)]
    writes = Writes(documents={("fragment", name): GuardedDocument(name.encode(), PARTITION.guard_name, 1) for name in names})
    assert await store.save(PARTITION, None, 2, writes) == frozenset()
    assert await store.save(PARTITION, 2, 2, writes) == set(writes.documents)
    _, documents, _ = await store.load(PARTITION, "fragment", names)
    assert all(documents[name].data == name.encode() for name in names)


async def test_store_answers_ping(store: ProfileStore) -> None:
    await store.ping()
