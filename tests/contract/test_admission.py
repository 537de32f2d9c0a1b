"""An event is enriched and checked against its plan in the same way, whether it arrived by HTTP or as a Kafka record."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.definitions.kinds import Source, TrackingPlan, encode_definition, load_yaml
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.records import QuarantineRecord
from streams.definitions import build_definitions
from streams.steps.accept import AcceptStep
from tests.support.collector_harness import KEY, NOW_MS, CollectorHarness, collector_harness, source
from tests.support.geoip_file import geoip_file

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CALL = {
    "type": "track", "userId": "KH-7", "event": "Đặt hàng", "messageId": "m1", "properties": {"total": "1250000", "màu": "đỏ"},
    "context": {
        "userAgent": GOOGLEBOT, "ip": "203.0.113.9", "timezone": "Asia/Saigon",
        "page": {"url": "https://cho-que.vn/?utm_source=zalo&utm_campaign=T%E1%BA%BFt", "referrer": "https://coccoc.com/search"},
    },
}  # fmt: skip


def plan(mode: str) -> TrackingPlan:
    text = f"""
apiVersion: onefold/v1
kind: TrackingPlan
metadata: {{name: default}}
spec:
  mode: {mode}
  events:
    Đặt hàng:
      properties: {{total: {{type: money, required: true, max: 1000000}}}}
"""
    [found] = load_yaml(text, "plan.yaml")
    assert isinstance(found, TrackingPlan)
    return found


def accepting(settings: Settings, *definitions: Source | TrackingPlan) -> AcceptStep:
    live = build_definitions(settings)
    for offset, definition in enumerate(definitions):
        live.apply(definition.key.encode(), encode_definition(definition), offset)
    return AcceptStep(settings, lambda: {"default": "trusted"}, live.admission.admit)


async def by_kafka(step: AcceptStep, call: dict[str, Any]) -> list[tuple[str, bytes | None]]:
    record = Record("onefold.touchpoints", 0, 5, NOW_MS, None, orjson.dumps({**call, "source": "default"}))
    first = await step.run(TopicPartition("touchpoints", 0, 1), [record], NOW_MS)
    again = await step.run(TopicPartition("touchpoints", 0, 1), [record], NOW_MS + 60_000)
    written = [(outgoing.topic, outgoing.value) for outgoing in first.produce]
    if written[0][0].endswith("events"):
        assert written == [(outgoing.topic, outgoing.value) for outgoing in again.produce]
    return written


def planned(at: CollectorHarness, mode: str) -> None:
    at.sources.replace_all({"Source/default": source("default", KEY)}, [plan(mode)])


@pytest.mark.parametrize("mode", ["observe", "annotate"])
async def test_http_and_kafka_give_the_same_event(tmp_path: Path, mode: str) -> None:
    async with collector_harness(geoip_file=geoip_file(tmp_path)) as at:
        planned(at, mode)
        assert (await at.post("/v1/track", CALL)).json() == {"success": True, "results": []}
        [by_http] = await at.events()
        [(_, value)] = await by_kafka(accepting(at.settings, source("default", KEY), plan(mode)), CALL)
        assert decode(Event, value) == by_http
    assert by_http.flags == ("bot",)
    assert by_http.context["campaign"] == {"source": "zalo", "name": "Tết"}
    assert by_http.context["referrer"] == {"type": "search", "name": "Cốc Cốc", "domain": "coccoc.com"}
    assert by_http.context["enriched"]["location"]["city"] == "Hanoi"
    assert by_http.context["enriched"]["timezone"] == "Asia/Ho_Chi_Minh"
    said = (("properties.total", "max", "text"), ("properties.màu", "unknown", "text"))
    assert (by_http.violations, by_http.observed) == (((), said) if mode == "observe" else (said, ()))


async def test_http_and_kafka_block_an_event_and_name_the_path() -> None:
    async with collector_harness() as at:
        planned(at, "block")
        answer = await at.post("/v1/track", CALL)
        assert answer.status_code == 200
        assert answer.json()["results"] == [
            {"index": 0, "messageId": "m1", "reason": "plan_violation", "path": "properties.total"},
        ]
        assert await at.events() == []
        [(by_http, raw)] = await at.quarantined()
        [(topic, value)] = await by_kafka(accepting(at.settings, source("default", KEY), plan("block")), CALL)
    held = decode(QuarantineRecord, value)
    assert topic.endswith("quarantine")
    assert held.reason == by_http.reason == "plan_violation"
    assert held.detail == by_http.detail == "properties.total: is more than planned (max, text)"
    assert orjson.loads(base64.b64decode(held.raw)) == {**CALL, "source": "default"}
    assert orjson.loads(raw) == CALL


async def test_source_disables_enrichment_over_http_and_kafka() -> None:
    spec: dict[str, Any] = {"enrich": {"bots": False, "user_agent": False, "campaign": False, "referrer": False, "timezone": False}}
    async with collector_harness(spec=spec) as at:
        await at.post("/v1/track", CALL)
        [by_http] = await at.events()
        changed = source("default", KEY)
        changed = changed.model_copy(update={"spec": type(changed.spec).model_validate({**changed.spec.model_dump(), **spec})})
        [(_, value)] = await by_kafka(accepting(at.settings, changed), CALL)
        assert decode(Event, value) == by_http
    assert by_http.context == CALL["context"]
    assert by_http.flags == ()


async def test_violations_are_counted_under_names_of_the_plan_alone() -> None:
    async with collector_harness() as at:
        planned(at, "observe")
        made_up = {**CALL, "properties": {"total": "1", "lan@cho-que.vn": 1, "của-lan": 2}}
        await at.post("/v1/track", made_up)
        await at.post("/v1/track", {**CALL, "event": "Bịa đặt"})
        lines = [
            line for line in at.metrics.exposition().decode().splitlines() if line.startswith("onefold_plan_violations_total{")
        ]
    assert lines == [
        'onefold_plan_violations_total{event="Đặt hàng",path="properties.*",rule="unknown",source="default"} 2.0',
        'onefold_plan_violations_total{event="*",path="event",rule="unknown_event",source="default"} 1.0',
    ]


async def test_a_plan_that_ends_lets_events_pass_again() -> None:
    async with collector_harness() as at:
        planned(at, "block")
        await at.post("/v1/track", CALL)
        at.sources.replace_all({"Source/default": source("default", KEY)})
        await at.post("/v1/track", CALL)
        assert len(await at.events()) == 1
