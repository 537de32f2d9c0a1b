"""What fuzzing has found, each as its smallest input."""

import pytest

from consumers.events import EVENTS_FEED
from consumers.feeds import GROUPS_FEED
from domain.identity.rules import DEFAULT_RULES
from domain.intake.touchpoints import parse_touchpoint
from domain.segments.plan import SegmentPlan
from profile_store.memory import MemoryStore
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.events import Event
from schemas.reasons import Reason
from schemas.records import GroupRecord, Link, ReclusterRequest
from streams.step import Step
from streams.steps.group import GroupStep
from streams.steps.link import LinkStep
from streams.steps.unify import UnifyStep
from tests.fuzz.records import misfit
from tests.support.collector_harness import collector_harness
from tests.support.events import event
from warehouse.tables import LEDGER

SETTINGS, NOW_MS = Settings(), 1_750_000_000_000
GOOD = encode(event({"user_id": "u1", "email": "an@shop.vn"}, id="m1", name="Order", properties={"total": 3}))
BAD_EVENTS = (
    GOOD.replace(b'"total":3', b'"total":1' + b"0" * 40),
    GOOD.replace(b'"total":3', b'"total":18446744073709551616'),
    encode(event({"user_id": "u1", "email": "an@shop.vn"}, id="m1")).replace(b'["email","an@shop.vn"],', b""),
    GOOD.replace(b'"owner":"0', b'"owner":"1'),
)


def record(topic: str, value: bytes) -> Record:
    return Record(SETTINGS.topic(topic), 0, 0, NOW_MS, None, value)


@pytest.mark.parametrize("value", BAD_EVENTS)
async def test_agent_and_ledger_agree_on_an_invalid_event(value: bytes) -> None:
    with pytest.raises(Undecodable) as error:
        decode(Event, value)
    assert error.value.reason is Reason.WRONG_TYPE
    step = UnifyStep(SETTINGS, MemoryStore(ManualClock(NOW_MS)), lambda: SegmentPlan())
    outcome = await step.run(TopicPartition("events", 0, 1), [record("events", value)], NOW_MS)
    assert outcome.results["quarantined"] == 1
    (row,) = EVENTS_FEED.decide([record("events", value)], SETTINGS, NOW_MS).rows[LEDGER]
    assert row[LEDGER.column_index("outcome")] == "quarantined"


def test_a_property_without_a_name_is_no_part_of_a_call_centres_message_id() -> None:
    value = b'{"type": "call_started", "call_id": "c1", "anonymousId": "a1", "": {}}'
    found = parse_touchpoint(value, record_id="t-0-0", sources={}, received_ms=NOW_MS, secret=b"s", country="VN")
    assert [said.id for said in found if isinstance(said, Event)] == ["c1:call_started"]


def test_the_largest_integer_that_stores_keep_passes() -> None:
    assert decode(Event, GOOD.replace(b'"total":3', b'"total":18446744073709551615')).properties["total"] == 2**64 - 1


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("links", ReclusterRequest(nodes=("f" * 32,), rules_number=1)),
        ("links", ReclusterRequest(nodes=("",), rules_number=1)),
        ("links", Link(a="0", b="không", first_ms=1, first_event="m", last_ms=1, last_event="m", source="s", owner="0")),
        ("groups", GroupRecord(group_id="", kind="account", name="a")),
        ("groups", GroupRecord(group_id="h1", kind="account", name="a")),
        ("groups", GroupRecord(group_id="h1", kind="household", profile_id="undefined")),
    ],
)
async def test_record_without_node_or_group_is_quarantined(topic: str, said: Link | ReclusterRequest | GroupRecord) -> None:
    store = MemoryStore(ManualClock(NOW_MS))
    steps: dict[str, Step] = {
        "links": LinkStep(SETTINGS, store, lambda: DEFAULT_RULES),
        "groups": GroupStep(SETTINGS, store, lambda: SegmentPlan()),
    }
    outcome = await steps[topic].run(TopicPartition(topic, 0, 1), [record(topic, encode(said))], NOW_MS)
    assert outcome.results["quarantined"] == 1
    assert [out.topic for out in outcome.produce] == [SETTINGS.topic("quarantine")]


def test_numbers_beyond_a_column_do_not_stop_its_consumer() -> None:
    said = GroupRecord(group_id="h1", kind="household", profile_id="0a", rank=2**53, max_members=-1, seq=-1, counters={"Order": -1})
    batch = GROUPS_FEED.decide([record("groups", encode(said))], SETTINGS, NOW_MS)
    assert [misfit(table, row) for table, rows in batch.rows.items() for row in rows] == [None]


async def test_a_file_whose_header_is_one_endless_cell_is_refused_whole() -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/import/customers", content=b"x" * 140_000 + b"\nu1,an@shop.vn\n")
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_file"
        assert "line 1, a cell is longer than 131,072 characters" in answer.json()["message"]
        assert await at.quarantined() == []
