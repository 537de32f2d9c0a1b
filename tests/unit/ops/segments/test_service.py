"""Why somebody is in a segment, from the stores' twins: events, transitions, what is stored, and how it reads."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from domain.definitions.kinds import Segment, load_yaml
from domain.identity.rules import CompiledIdentityRules, HouseholdRules, IdentityRulesSpec
from ops.cli import segment_answers
from runtime.errors import Invalid
from tests.support.events import SECRET, event
from tests.support.explain_world import ExplainWorld

NOW_MS = 1_750_000_000_000
MINUTE = 60_000
DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: sap-mua}
spec:
  where:
    all:
      - did: {event: Thêm vào giỏ, at_least: 2, within: 1h}
      - did_not: {event: Đặt hàng, within: 1h}
      - trait: {path: name, op: starts_with, value: Nguyễn}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: khach-tot}
spec:
  where:
    any:
      - aggregate: {of: sum, event: Đặt hàng, prop: total, op: gte, value: 100}
      - regularly: {event: Đặt hàng, every: 1d, at_least: 2, of: 3}
      - aggregate: {of: max, event: Đặt hàng, prop: total, op: gte, value: 90}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: ngoai-nhom}
spec: {where: {not: {in_segment: sap-mua}}}
"""
SEGMENTS = [definition for definition in load_yaml(DEFINITIONS, "test") if isinstance(definition, Segment)]
COOKIE, PHONE = {"anonymous_id": "máy-1"}, {"phone": "+84912345678"}


def rendered(answer: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(answer)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
async def explain_world() -> ExplainWorld:
    made = ExplainWorld(SEGMENTS)
    await made.process_events(
        event({**COOKIE, **PHONE}, id="n1", type="identify", traits={"name": "Nguyễn Thị Ánh"}, time_ms=NOW_MS - 50 * MINUTE),
        event(COOKIE, id="g1", name="Thêm vào giỏ", time_ms=NOW_MS - 31 * MINUTE),
        event(PHONE, id="g2", name="Thêm vào giỏ", time_ms=NOW_MS - 5 * MINUTE),
    )
    return made


async def test_membership_is_explained_by_events_of_all_identifiers(explain_world: ExplainWorld) -> None:
    answer = await explain_world.asked.why("phone:0912 345 678", "sap-mua")
    assert answer["member"] is True
    assert answer["agrees"] is True
    assert answer["evaluated"] is True
    assert answer["history"] is True
    carts, order, name = answer["tree"]["inside"]
    assert [shown["id"] for shown in carts["events"][0]["shown"]] == ["g2", "g1"]
    assert carts["events"][0]["count"] == carts["value"] == 2
    assert carts["events"][0]["shown"][0]["name"] == "Thêm vào giỏ"
    assert order["events"] == []
    assert name["value"] == "Nguyễn Thị Ánh"
    assert name["events"][0]["shown"][0]["id"] == "n1"
    assert answer["turns"] == carts["turns"] == "2025-06-15T15:35:40.000Z"
    assert answer["turns_in_ms"] == 29 * MINUTE - 1_000
    assert answer["transition"]["op"] == "entered"
    assert answer["transition"]["event"]["id"] in {"g1", "g2", "n1"}
    assert answer["stored"]["member"]
    by_id = await explain_world.asked.why(answer["profile_id"], "sap-mua")
    assert by_id["tree"] == answer["tree"]


async def test_non_member_explanation_names_the_failing_condition(explain_world: ExplainWorld) -> None:
    await explain_world.process_events(event(PHONE, id="o1", name="Đặt hàng", time_ms=NOW_MS - MINUTE, properties={"total": 40}))
    answer = await explain_world.asked.why("anonymous_id:máy-1", "sap-mua")
    assert answer["member"] is False
    assert answer["agrees"] is True
    assert [child["holds"] for child in answer["tree"]["inside"]] == [True, False, True]
    assert answer["tree"]["inside"][1]["events"][0]["shown"][0]["id"] == "o1"
    assert answer["turns"] is None
    assert answer["transition"]["op"] == "exited"
    assert answer["transition"]["cause"] == "event"
    assert answer["transition"]["event"]["name"] == "Đặt hàng"


async def test_sums_periods_and_extremes_find_their_events_without_instants(explain_world: ExplainWorld) -> None:
    orders = [(1, 40), (2, 95), (30, 5)]
    for number, (hours, total) in enumerate(orders):
        properties = {"total": total}
        await explain_world.process_events(
            event(PHONE, id=f"o{number}", name="Đặt hàng", time_ms=NOW_MS - hours * 60 * MINUTE, properties=properties)
        )
    robot = event(PHONE, id="bot", name="Đặt hàng", time_ms=NOW_MS - 1, properties={"total": 95}, flags=("bot",))
    await explain_world.process_events(robot)
    answer = await explain_world.asked.why("phone:0912345678", "khach-tot")
    total, regular, largest = answer["tree"]["inside"]
    assert total["value"] == 140
    assert [(shown["id"], shown["value"]) for shown in total["events"][0]["shown"]] == [("o0", 40), ("o1", 95), ("o2", 5)]
    assert {shown["id"] for shown in regular["events"][0]["shown"]} == {"o0", "o1", "o2"}
    assert [(shown["id"], shown["value"]) for shown in largest["events"][0]["shown"]] == [("o1", 95)]


async def test_explanation_without_clickhouse_shows_values_and_instants(explain_world: ExplainWorld) -> None:
    explain_world.told.away = True
    answer = await explain_world.asked.why("phone:0912345678", "sap-mua")
    assert answer["member"] is True
    assert answer["history"] is False
    assert answer["transition"] is None
    assert answer["tree"]["inside"][0]["events"][0]["shown"] == [
        {"time": "2025-06-15T15:01:40.000Z"},
        {"time": "2025-06-15T14:35:40.000Z"},
    ]
    assert "ClickHouse does not answer" in rendered(segment_answers.why(answer))


async def test_explanation_reports_a_differing_stored_membership(explain_world: ExplainWorld) -> None:
    explain_world.pipeline.clock.advance(2 * 60 * MINUTE)
    answer = await explain_world.asked.why("phone:0912345678", "sap-mua")
    assert answer["member"] is False
    assert answer["stored"]["member"] is True
    assert answer["agrees"] is False
    assert "The stored membership differs" in rendered(segment_answers.why(answer))


async def test_the_overview_names_all_segments(explain_world: ExplainWorld) -> None:
    overview = await explain_world.asked.overview("phone:0912345678")
    rows = {row["name"]: row for row in overview["segments"]}
    assert {name: row["member"] for name, row in rows.items()} == {"khach-tot": False, "ngoai-nhom": False, "sap-mua": True}
    assert rows["sap-mua"]["turns"] == rows["ngoai-nhom"]["turns"] == "2025-06-15T15:35:40.000Z"
    assert rows["sap-mua"]["since"] is not None
    text = rendered(segment_answers.overview(overview))
    assert "in 28 min" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("profile", "segment", "reason"),
    [
        ("phone:0912345678", "khong-co", "unknown_segment"),
        ("phone:0987650321", "sap-mua", "unknown_identifier"),
        ("zodiac:lion", "sap-mua", "unknown_namespace"),
        ("phone", "sap-mua", "malformed"),
    ],
)
async def test_unanswerable_question_is_refused_without_quoting_input(
    explain_world: ExplainWorld, profile: str, segment: str, reason: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await explain_world.asked.why(profile, segment)
    assert refused.value.reason == reason
    assert "0987650321" not in str(refused.value)


async def test_explanation_shows_current_household_and_account() -> None:
    definition_text = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: gia-dinh}
spec:
  where:
    all:
      - household: {trait: {path: address, op: contains, value: Huế}, members: {at_least: 2}, did: {event: Đặt hàng, at_least: 2}}
      - account: {trait: {path: plan, value: doanh nghiệp}}
"""
    spec = IdentityRulesSpec(household=HouseholdRules(address_trait="address", shared_traits=("address",)))
    rules = CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN")
    made = ExplainWorld([definition for definition in load_yaml(definition_text, "test") if isinstance(definition, Segment)], rules)
    for number, name in enumerate(("An", "Bình")):
        traits = {"name": f"Nguyễn {name}", "address": "12 Trần Hưng Đạo, P.5, TP. Huế"}
        user = {"user_id": f"u{number}"}
        await made.process_events(
            event(user, id=f"i{number}", type="identify", traits=traits, time_ms=NOW_MS),
            event(user, id=f"o{number}", name="Đặt hàng", time_ms=NOW_MS),
            event(user, id=f"g{number}", type="group", properties={"groupId": "công-ty-1"}, traits={"plan": "doanh nghiệp"}),
        )
    by_its_secret = replace(made.asked, settings=made.pipeline.settings)
    answer = await by_its_secret.why(event({"user_id": "u0"}, id="-").owner, "gia-dinh")
    household, account = answer["tree"]["inside"]
    assert household["value"] == {"members": 2, "address": "12 Trần Hưng Đạo, P.5, TP. Huế", "Đặt hàng": 2}
    assert account["value"] == [{"members": 2, "plan": "doanh nghiệp", "fits": True}]
    assert answer["member"] is True
    assert answer["agrees"] is True
    assert "found members 2 address 12 Trần Hưng Đạo" in rendered(segment_answers.why(answer))


async def test_it_reads_on_a_narrow_terminal_with_its_accents(explain_world: ExplainWorld) -> None:
    answer: dict[str, Any] = await explain_world.asked.why("phone:0912345678", "ngoai-nhom")
    text = rendered(segment_answers.why(answer))
    assert max(map(len, text.splitlines())) <= 80
    for part in ("Thêm vào giỏ", "Nguyễn Thị Ánh", "✗ not", "✓ in the segment sap-mua", "in 28 min", "found 2 or more", "Stored:"):
        assert part in text
    assert json.loads(json.dumps(answer, ensure_ascii=False)) == answer


async def test_event_values_cannot_inject_terminal_control_codes() -> None:
    made = ExplainWorld(SEGMENTS)
    hostile_event = event(PHONE, id="n\x1b[2J", type="identify", traits={"name": "Nguyễn \x1b[31m"}, time_ms=NOW_MS)
    await made.process_events(hostile_event)
    text = rendered(segment_answers.why(await made.asked.why("phone:0912345678", "sap-mua")))
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
