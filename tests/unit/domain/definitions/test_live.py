"""A fold over the definitions topic: the last record of a key counts, and one that cannot be read takes its definition away."""

from typing import Any

import pytest

from domain.definitions.kinds import AnyDefinition, Destination, TrackingPlan, encode_definition, parse_definition
from domain.definitions.live import LiveDefinitions, UnreadableRules
from domain.identity.rules import DEFAULT_RULES


def define(kind: str, name: str, spec: dict[str, Any]) -> AnyDefinition:
    return parse_definition({"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}, name)


def segment(name: str, where: object) -> AnyDefinition:
    return define("Segment", name, {"where": where})


class Topic:
    """A definitions topic that applies records at growing offsets, and collects the reported errors."""

    def __init__(self, *prefixes: str) -> None:
        self.reported: list[tuple[str, str]] = []
        chosen: dict[str, Any] = {"prefixes": prefixes} if prefixes else {}
        self.live = LiveDefinitions(
            **chosen, secret=b"s", country="VN", report_bad=lambda record: self.reported.append((record.key, record.reason))
        )
        self._offset = 0

    def write(self, *definitions: AnyDefinition) -> None:
        for definition in definitions:
            self.write_value(definition.key, encode_definition(definition))

    def write_value(self, key: str | bytes, value: bytes | None) -> None:
        self.live.apply(key.encode() if isinstance(key, str) else key, value, self._offset)
        self._offset += 1


BUYERS = {"did": {"event": "Order Completed"}}
SIGNED_UP = {"did": {"event": "Signed Up"}}
HOOK = {"type": "webhook", "url": "https://example.com/", "secret_env": "S", "triggers": [{"segment": "a"}]}


def test_a_later_record_replaces_and_a_tombstone_removes() -> None:
    topic = Topic()
    topic.write(segment("a", BUYERS))
    first = topic.live.plan.versions["a"]
    topic.write(segment("a", SIGNED_UP))
    assert topic.live.plan.versions["a"] != first
    topic.write_value("Segment/a", None)
    assert topic.live.plan.segments == {}


@pytest.mark.parametrize(
    "value", [b"{}", b"nonsense", encode_definition(segment("b", SIGNED_UP)), b'{"apiVersion": "onefold/v2"}', b"", b"[" * 100_000]
)
def test_a_definition_whose_newest_record_cannot_be_read_is_not_in_force(value: bytes) -> None:
    topic = Topic()
    topic.write(segment("a", BUYERS), segment("c", BUYERS))
    topic.write_value("Segment/a", value)
    assert set(topic.live.plan.segments) == {"c"}
    assert set(topic.live.in_force()) == {"Segment/c"}
    assert [key for key, _ in topic.reported] == ["Segment/a"]
    assert [(record.offset, record.key) for record in topic.live.bad_records] == [(2, "Segment/a")]


def test_a_process_that_starts_after_the_compaction_works_by_the_same_definitions() -> None:
    earlier, later = Topic(), Topic()
    earlier.write(segment("a", BUYERS))
    for topic in (earlier, later):
        topic.write_value("Segment/a", b"nonsense")
    assert earlier.live.in_force() == later.live.in_force() == {}


@pytest.mark.parametrize("mended", [None, encode_definition(segment("a", SIGNED_UP))])
def test_a_record_is_bad_until_another_one_follows_under_its_key(mended: bytes | None) -> None:
    topic = Topic()
    topic.write_value("Segment/a", b"nonsense")
    topic.write_value("Segment/a", mended)
    assert topic.live.bad_records == ()
    assert (topic.live.get("Segment/a") is None) == (mended is None)


@pytest.mark.parametrize("key", [b"\xff\xfe", b"k" * 60_000, b"", b"\x1b[2J", b"Nonsense/a", "Nguyễn".encode()])
def test_a_key_that_no_definition_can_have_is_named_in_short_and_can_be_taken_away(key: bytes) -> None:
    topic = Topic()
    topic.write_value(key, b"{}")
    (shown,) = (record.key for record in topic.live.bad_records)
    assert shown.isprintable()
    assert len(shown) < 110
    topic.write_value(key, None)
    assert topic.live.bad_records == ()


def test_without_readable_identity_rules_nothing_is_decided_by_rules() -> None:
    topic = Topic()
    topic.write(define("IdentityRules", "default", {"max_members": 7}))
    topic.write_value("IdentityRules/default", b"nonsense")
    with pytest.raises(UnreadableRules, match="onefold definitions list --bad"):
        _ = topic.live.rules
    topic.write(define("IdentityRules", "default", {"max_members": 8}))
    assert topic.live.rules.max_members == 8
    topic.write_value("IdentityRules/default", b"nonsense")
    topic.write_value("IdentityRules/default", None)
    assert topic.live.rules.sequence_number == 5


def test_a_circle_is_reported_and_left_out_and_a_later_segment_is_taken() -> None:
    topic = Topic()
    topic.write(segment("a", {"in_segment": "b"}), segment("b", {"in_segment": "a"}), segment("c", BUYERS))
    assert set(topic.live.plan.segments) == {"a", "c"}
    assert [key for key, _ in topic.reported] == ["Segment/b"]


def test_the_segment_whose_last_record_closes_a_circle_is_left_out() -> None:
    topic = Topic()
    topic.write(segment("a", BUYERS), segment("b", {"in_segment": "a"}), segment("a", {"in_segment": "b"}))
    assert set(topic.live.plan.segments) == {"b"}


def test_every_record_advances_the_next_offset() -> None:
    topic = Topic("Destination/")
    topic.live.apply(b"Segment/a", b"{}", 4)
    assert topic.live.next_offset == 5
    topic.live.apply(b"Destination/a", b"{}", 5)
    assert topic.live.next_offset == 6
    topic.live.apply(None, b"{}", 6)
    assert topic.live.next_offset == 7


def test_the_end_of_the_topic_never_moves_the_next_offset_back() -> None:
    live = LiveDefinitions()
    live.advance_to(3)
    live.advance_to(2)
    assert live.next_offset == 3


def test_kinds_that_were_not_asked_for_are_ignored() -> None:
    topic = Topic("Source/", "TrackingPlan/")
    shop, plan = define("Source", "shop", {}), define("TrackingPlan", "shop", {"mode": "block"})
    topic.write(shop, plan, segment("a", BUYERS))
    topic.write_value("Segment/b", b"nonsense")
    assert topic.live.sources == [shop]
    assert topic.live.of_kind(TrackingPlan) == [plan]
    assert topic.live.plan.segments == {}
    assert topic.reported == []


def test_changed_keys_are_handed_out_once() -> None:
    topic = Topic("Destination/")
    topic.write(define("Destination", "hook", HOOK), segment("a", BUYERS))
    assert topic.live.pop_changed_keys() == {"Destination/hook"}
    assert isinstance(topic.live.get("Destination/hook"), Destination)
    assert topic.live.pop_changed_keys() == frozenset()
    topic.write_value("Destination/hook", b"nonsense")
    assert topic.live.pop_changed_keys() == {"Destination/hook"}
    assert topic.live.get("Destination/hook") is None
    topic.write_value("Destination/hook", None)
    assert topic.live.pop_changed_keys() == {"Destination/hook"}
    assert topic.live.get("Destination/hook") is None


def test_the_rules_number_grows_with_each_change_and_a_tombstone_brings_the_default_rules_back() -> None:
    topic = Topic()
    assert topic.live.rules is DEFAULT_RULES
    topic.write(segment("a", BUYERS), define("IdentityRules", "default", {}))
    assert topic.live.rules.sequence_number == 2
    topic.write_value("IdentityRules/default", None)
    assert topic.live.rules.sequence_number == 3


def test_the_admission_is_the_same_object_and_follows_the_plans() -> None:
    topic = Topic()
    admission = topic.live.admission
    topic.write(define("Source", "shop", {}), define("TrackingPlan", "shop", {"mode": "block"}))
    assert topic.live.admission is admission
    assert set(admission._rules.plan_by_source) == {"shop"}


def test_namespaces_are_those_of_the_rules_also_without_the_secret_of_the_rules() -> None:
    live = LiveDefinitions(prefixes=("IdentityRules/",))
    assert live.namespaces.own == {}
    value = encode_definition(define("IdentityRules", "default", {"namespaces": {"loyalty_card": {"rank": 1}}}))
    live.apply(b"IdentityRules/default", value, 3)
    assert live.namespaces.names[-1] == "loyalty_card"
    assert live.rules.sequence_number == 4
    live.apply(b"IdentityRules/default", None, 4)
    assert live.namespaces.own == {}
    assert live.rules.sequence_number == 5
