"""Definitions from a directory, and the topic that makes them live."""

from pathlib import Path

import pytest

from domain.definitions.consistency import classify_changes
from domain.definitions.kinds import Source, SourceSpec, load_yaml, source_for_key
from ops import definitions_topic
from ops.apply.removal import DefinitionRemoval
from ops.definition_files import read_definitions, require_consistent
from ops.prepare import create_topics, declare_sources
from profile_store.memory import MemoryStore
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.errors import Invalid
from runtime.settings import Settings

SETTINGS = Settings()
SEGMENT = "apiVersion: onefold/v1\nkind: Segment\nmetadata: {{name: {name}}}\nspec: {{where: {where}}}\n"
HOOK = """
apiVersion: onefold/v1
kind: Destination
metadata: {name: hook}
spec: {type: webhook, url: "https://hooks.example.vn/x", secret_env: HOOK_SECRET, triggers: [{segment: khach-quen}]}
"""


def segment(name: str, where: str = "{did: {event: Đặt hàng}}") -> str:
    return SEGMENT.format(name=name, where=where)


def put(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    return directory


def test_all_documents_of_all_files_are_read(tmp_path: Path) -> None:
    put(tmp_path, one=f"{segment('a')}---\n{segment('b')}")
    (tmp_path / "deep").mkdir()
    put(tmp_path / "deep", two=segment("khach-quen"))
    (tmp_path / "hook.json").write_text(
        '{"apiVersion": "onefold/v1", "kind": "Source", "metadata": {"name": "tong-dai"}, "spec": {"topic_ingress": true}}'
    )
    assert set(read_definitions(tmp_path)) == {"Segment/a", "Segment/b", "Segment/khach-quen", "Source/tong-dai"}


def test_a_single_file_is_read_whatever_its_name_is(tmp_path: Path) -> None:
    (tmp_path / "segments.txt").write_text(segment("a"))
    assert set(read_definitions(tmp_path / "segments.txt")) == {"Segment/a"}


def test_every_document_at_fault_is_named_at_once(tmp_path: Path) -> None:
    put(tmp_path, one="kind: Nonsense", two=segment("a"), three=segment("a"), four=": : :")
    with pytest.raises(Invalid) as caught:
        read_definitions(tmp_path)
    for word in ("one.yaml", "four.yaml", "Segment/a is defined a second time"):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["missing", ""])
def test_a_directory_without_definitions_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="definitions"):
        read_definitions(tmp_path / name)


def test_a_segment_that_nobody_defines_is_refused_wherever_it_is_named(tmp_path: Path) -> None:
    requested = read_definitions(put(tmp_path, hook=HOOK, a=segment("a", "{in_segment: nowhere}")))
    with pytest.raises(Invalid) as caught:
        require_consistent(requested, {})
    assert "Destination/hook: spec.triggers.0.segment: names the segment khach-quen" in str(caught.value)
    assert "Segment/a: spec.where.in_segment: names the segment nowhere" in str(caught.value)


def test_a_segment_that_is_live_may_be_named(tmp_path: Path) -> None:
    requested = read_definitions(put(tmp_path, hook=HOOK))
    require_consistent(requested, {d.key: d for d in load_yaml(segment("khach-quen"), "live")})


def test_a_circle_through_what_is_live_is_refused(tmp_path: Path) -> None:
    live = {d.key: d for d in load_yaml(segment("b", "{in_segment: a}"), "live")}
    with pytest.raises(Invalid, match="circle"):
        require_consistent(read_definitions(put(tmp_path, a=segment("a", "{in_segment: b}"))), live)


def test_changes_are_told_from_what_is_live() -> None:
    live = {d.key: d for d in load_yaml(f"{segment('same')}---\n{segment('other')}", "live")}
    requested = load_yaml(f"{segment('same')}---\n{segment('other', '{did: {event: Khác}}')}---\n{segment('new')}", "wanted")
    assert classify_changes(requested, live) == {"Segment/same": "unchanged", "Segment/other": "change", "Segment/new": "create"}


async def test_what_was_written_is_live_the_last_of_each_key() -> None:
    bus = MemoryBus(ManualClock())
    await create_topics(SETTINGS, bus)
    assert await definitions_topic.read_live(SETTINGS, bus) == {}
    first, second = load_yaml(f"{segment('a')}---\n{segment('a', '{did: {event: Khác}}')}", "both")
    await definitions_topic.write(SETTINGS, bus, [first, second])
    assert await definitions_topic.read_live(SETTINGS, bus) == {"Segment/a": second}


async def test_a_source_is_declared_once_and_keeps_other_keys() -> None:
    bus = MemoryBus(ManualClock())
    await create_topics(SETTINGS, bus)
    assert await declare_sources(SETTINGS, bus, {}) == ()
    assert await declare_sources(SETTINGS, bus, {"default": "first-key"}) == ("default",)
    assert await declare_sources(SETTINGS, bus, {"default": "first-key"}) == ()
    assert await declare_sources(SETTINGS, bus, {"default": "second-key"}) == ("default",)
    live_source = (await definitions_topic.read_live(SETTINGS, bus))["Source/default"]
    assert isinstance(live_source, Source)
    for key in ("first-key", "second-key"):
        assert source_for_key([live_source], key) == live_source
    assert source_for_key([live_source], "third-key") is None
    assert "first-key" not in live_source.model_dump_json()


async def publish(bus: MemoryBus, *records: tuple[bytes, bytes | None]) -> None:
    producer = await bus.producer()
    await producer.send([Outgoing(SETTINGS.topic("definitions"), value, key) for key, value in records])


@pytest.fixture
async def spoilt() -> MemoryBus:
    """Return a topic with the segment `a`, and with records that cannot be read at the offsets 1 to 4."""
    bus = MemoryBus(ManualClock())
    await create_topics(SETTINGS, bus)
    await definitions_topic.write(SETTINGS, bus, load_yaml(segment("a"), "a"))
    newer = b'{"apiVersion": "onefold/v2", "kind": "Segment"}'
    await publish(bus, (b"\xff\xfe", b"{}"), (b"k" * 60_000, b"{}"), (b"Segment/b", b"nonsense"), (b"Segment/newer", newer))
    return bus


async def test_what_cannot_be_read_is_named_beside_what_is_in_force(spoilt: MemoryBus) -> None:
    definitions = await definitions_topic.read_topic(SETTINGS, spoilt)
    assert set(definitions.live) == {"Segment/a"}
    assert [record.offset for record in definitions.bad] == [1, 2, 3, 4]
    assert set(await definitions_topic.read_live(SETTINGS, spoilt)) == {"Segment/a"}


async def test_records_are_removed_by_offset_and_by_key_whatever_their_bytes_are(spoilt: MemoryBus) -> None:
    removed = await definitions_topic.remove_bad(SETTINGS, spoilt, [2, 4], [r"\xff\xfe"])
    assert [record.offset for record in removed] == [1, 2, 4]
    definitions = await definitions_topic.read_topic(SETTINGS, spoilt)
    assert [record.key for record in definitions.bad] == ["Segment/b"]
    await spoilt.compact(SETTINGS.topic("definitions"))
    assert (await definitions_topic.read_topic(SETTINGS, spoilt)).live == definitions.live


@pytest.mark.parametrize(("offsets", "keys"), [([0], []), ([99], []), ([1, 99], []), ([], ["Segment/a"]), ([1], ["Segment/a"])])
async def test_only_what_cannot_be_read_is_removed_so_and_all_of_it_or_nothing(
    spoilt: MemoryBus, offsets: list[int], keys: list[str]
) -> None:
    with pytest.raises(Invalid, match="onefold remove KIND/NAME"):
        await definitions_topic.remove_bad(SETTINGS, spoilt, offsets, keys)
    assert len((await definitions_topic.read_topic(SETTINGS, spoilt)).bad) == 4


async def test_a_definition_is_mended_by_writing_it_again(spoilt: MemoryBus) -> None:
    await definitions_topic.write(SETTINGS, spoilt, load_yaml(segment("b"), "b"))
    definitions = await definitions_topic.read_topic(SETTINGS, spoilt)
    assert set(definitions.live) == {"Segment/a", "Segment/b"}
    assert len(definitions.bad) == 3


async def test_the_default_source_is_declared_over_one_that_cannot_be_read(spoilt: MemoryBus) -> None:
    await publish(spoilt, (b"Source/default", b"nonsense"), (b"IdentityRules/default", b"nonsense"))
    assert await declare_sources(SETTINGS, spoilt, {"default": "key"}) == ("default",)
    assert "Source/default" in (await definitions_topic.read_topic(SETTINGS, spoilt)).live


async def test_no_command_decides_by_other_identity_rules_than_those_that_cannot_be_read(spoilt: MemoryBus) -> None:
    await publish(spoilt, (b"IdentityRules/default", b"nonsense"))
    with pytest.raises(Invalid, match="identity rules cannot be read"):
        await definitions_topic.read_live(SETTINGS, spoilt)
    assert set(await definitions_topic.read_live(SETTINGS, spoilt, replaced=["IdentityRules/default"])) == {"Segment/a"}


async def test_a_definition_that_cannot_be_read_is_removed_by_its_name(spoilt: MemoryBus) -> None:
    clock = ManualClock()
    removal = DefinitionRemoval(SETTINGS, spoilt, MemoryStore(clock), clock)
    assert (await removal.remove("Segment/b")).profiles == 0
    assert len((await definitions_topic.read_topic(SETTINGS, spoilt)).bad) == 3


async def test_the_default_source_is_public_and_the_server_trusted_until_an_operator_says_otherwise() -> None:
    bus = MemoryBus(ManualClock())
    await create_topics(SETTINGS, bus)
    assert await declare_sources(SETTINGS, bus, {"default": "key", "server": "secret-key"}) == ("default", "server")

    async def specs() -> dict[str, SourceSpec]:
        live = (await definitions_topic.read_topic(SETTINGS, bus)).live
        return {key: source.spec for key, source in live.items() if isinstance(source, Source)}

    assert {key: (spec.trust, spec.topic_ingress) for key, spec in (await specs()).items()} == {
        "Source/default": ("public", False),
        "Source/server": ("trusted", True),
    }
    [changed] = load_yaml("{apiVersion: onefold/v1, kind: Source, metadata: {name: server}, spec: {trust: public}}", "test")
    await definitions_topic.write(SETTINGS, bus, [changed])
    assert await declare_sources(SETTINGS, bus, {"server": "secret-key"}) == ("server",)
    assert (await specs())["Source/server"].trust == "public"
