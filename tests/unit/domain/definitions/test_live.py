"""Definitions are read to the end before anything starts, and a bad one changes nothing."""

import asyncio

import pytest

from domain.definitions.kinds import encode_definition, parse_definition
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from streams.definitions import Definitions, follow_definitions


def segment(name: str, where: object) -> bytes:
    document = {"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": name}, "spec": {"where": where}}
    return encode_definition(parse_definition(document, name))


BUYERS = {"did": {"event": "Order Completed"}}


def record(key: str, value: bytes | None, offset: int = 0) -> Record:
    return Record("onefold.definitions", 0, offset, 1, key.encode(), value)


async def test_all_that_the_topic_holds_is_known_after_catching_up() -> None:
    settings, bus = Settings(), MemoryBus()
    topic = settings.topic("definitions")
    await bus.create_topics({topic: (1, {})})
    producer = await bus.producer()
    await producer.send([Outgoing(topic, segment(f"s{n}", BUYERS), f"Segment/s{n}".encode()) for n in range(700)])
    definitions = Definitions(Settings())
    following = asyncio.create_task(follow_definitions(settings, bus, definitions))
    await asyncio.wait_for(definitions.caught_up.wait(), 10)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert len(definitions.plan.segments) == 700
    assert definitions.next_offset == 700


def test_a_later_record_replaces_and_a_tombstone_removes() -> None:
    definitions = Definitions(Settings())
    definitions.apply(record("Segment/a", segment("a", BUYERS)))
    first = definitions.plan.versions["a"]
    definitions.apply(record("Segment/a", segment("a", {"did": {"event": "Signed Up"}})))
    assert definitions.plan.versions["a"] != first
    definitions.apply(record("Segment/a", None))
    assert definitions.plan.segments == {}


def test_a_record_that_is_no_definition_changes_nothing() -> None:
    definitions = Definitions(Settings())
    definitions.apply(record("Segment/a", segment("a", BUYERS)))
    plan = definitions.plan
    definitions.apply(record("Segment/a", b"{}"))
    assert definitions.plan is plan


def test_a_circle_is_left_out_and_what_comes_after_it_is_taken() -> None:
    definitions = Definitions(Settings())
    definitions.apply(record("Segment/a", segment("a", {"in_segment": "b"})))
    definitions.apply(record("Segment/b", segment("b", {"in_segment": "a"})))
    definitions.apply(record("Segment/c", segment("c", BUYERS)))
    assert set(definitions.plan.segments) == {"a", "c"}


async def test_definitions_offset_covers_compacted_records(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, bus = Settings(), MemoryBus()
    topic = settings.topic("definitions")
    await bus.create_topics({topic: (1, {})})

    async def ends(_: str) -> dict[int, int]:
        return {0: 3}

    monkeypatch.setattr(bus, "end_offsets", ends)
    monkeypatch.setattr("runtime.bus.follow.POLL_MS", 1)
    definitions = Definitions(settings)
    following = asyncio.create_task(follow_definitions(settings, bus, definitions))
    await asyncio.wait_for(definitions.caught_up.wait(), 10)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert definitions.next_offset == 3


def test_unusable_record_still_advances_the_definitions_offset() -> None:
    definitions = Definitions(Settings())
    definitions.apply(record("Segment/a", b"{}", 4))
    assert definitions.next_offset == 5
