"""Identifiers of namespaces of one's own on their way: events, profiles, explanations, replays, touchpoints."""

import json
from typing import Any

import pytest

from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from domain.intake.admission import Admission
from domain.intake.parse import parse_call
from ops.identity.references import render_node
from ops.profile_reader import ProfileReader
from ops.quarantine.entries import QuarantineEntry
from ops.quarantine.replay_decider import ReplayDecider, ReplayRefusal
from profile_store.port import TopicPartition
from runtime.bus.port import Record
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from streams.steps.accept import AcceptStep
from tests.support.events import SECRET, START_MS
from tests.support.identity_world import IdentityWorld

SETTINGS = Settings(tenant_secret=SECRET.decode())
SPEC: dict[str, Any] = {
    "namespaces": {
        "loyalty_card": {"rank": 1, "owner_order": 3, "normalise": "digits", "max_per_profile": 1},
        "zalo_user_id": {"rank": 3, "max_neighbours": 1},
    }
}
RULES = CompiledIdentityRules.from_spec(IdentityRulesSpec.model_validate(SPEC), secret=SECRET, country="VN")


def seen(number: int, **identifiers: str) -> Event:
    event = parse_call(
        {"type": "track", "event": "Sale", "messageId": f"m{number}", "identifiers": identifiers},
        call_type=None,
        source="pos",
        trust="trusted",
        received_ms=START_MS + number,
        sent_ms=None,
        secret=SECRET,
        country="VN",
        default_id="",
        namespaces=RULES.namespaces,
    )
    assert isinstance(event, Event), event
    return event


async def test_a_profile_is_found_and_explained_by_its_card() -> None:
    world = IdentityWorld(rules=RULES)
    await world.process_events(
        seen(1, loyalty_card="4000 1234", anonymous_id="c1"),
        seen(2, loyalty_card="4000-1234", email="an@thu.vn"),
        seen(3, email="an@thu.vn", zalo_user_id="839201"),
    )
    card = RULES.namespaces.node(SECRET, ("loyalty_card", "40001234"))
    reader = ProfileReader(SETTINGS, world.pipeline.store, lambda: RULES)
    profile = await reader.by_identifier("loyalty_card", "4000.1234")
    assert profile is not None
    # No user id and no crm id: the card is the strongest, whatever came first.
    assert profile["profile_id"] == card
    assert {"namespace": "loyalty_card", "value": "40001234"} in profile["identifiers"]
    assert profile == await reader.by_identifier("zalo_user_id", "839201")

    why = await world.service.why("loyalty_card:4000 1234", "zalo_user_id:839201")
    assert why["verdict"] == "together"
    assert [render_node(step["from"]) for step in why["path"]] == ["loyalty_card:40001234", "email:an@thu.vn"]
    how = await world.service.how("zalo_user_id:839201")
    assert how["profile_id"] == card
    cut = await world.service.cut("email:an@thu.vn", "zalo_user_id:839201", by="Bình", reason="máy chung")
    assert cut["why"]["verdict"] == "apart"


async def test_a_limit_of_ones_own_is_named() -> None:
    world = IdentityWorld(rules=RULES)
    await world.process_events(
        seen(1, loyalty_card="4001", anonymous_id="c1"),
        seen(2, loyalty_card="4002", anonymous_id="c1"),
        seen(3, user_id="u1", zalo_user_id="7"),
        seen(4, user_id="u2", zalo_user_id="7"),
    )
    (unique,) = (await world.service.why("loyalty_card:4001", "loyalty_card:4002"))["reasons"]
    assert (unique["reason"], unique["namespace"], unique["limit"]) == ("unique", "loyalty_card", 1)
    assert "a profile may have 1 loyalty_card" in unique["text"]
    generic = (await world.service.why("user_id:u1", "user_id:u2"))["reasons"][0]
    assert (generic["reason"], generic["count"], generic["limit"]) == ("generic", 2, 1)
    assert "zalo_user_id:7 is generic" in generic["text"]


async def test_an_unknown_namespace_is_refused_with_those_that_there_are() -> None:
    world = IdentityWorld(rules=RULES)
    with pytest.raises(Invalid, match="loyalty_card, zalo_user_id"):
        await world.service.why("member_card:1", "user_id:u1")
    reader = ProfileReader(SETTINGS, world.pipeline.store, lambda: DEFAULT_RULES)
    with pytest.raises(Invalid, match="namespace is unknown"):
        await reader.by_identifier("loyalty_card", "4001")


async def test_rules_that_declare_a_namespace_need_no_rebuild() -> None:
    world = IdentityWorld()
    user, cookie = "user_id:u1", "anonymous_id:c1"
    await world.process_events(seen(1, user_id="u1", anonymous_id="c1"))
    before = await world.service.how(user)
    world.rules = world.pipeline.rules = RULES
    assert (await world.service.how(user))["profile_id"] == before["profile_id"]
    await world.process_events(seen(2, anonymous_id="c1", loyalty_card="4001"))
    assert (await world.service.why(cookie, "loyalty_card:4001"))["verdict"] == "together"
    assert (await world.service.why(user, "loyalty_card:4001"))["verdict"] == "together"


CALL = {"type": "track", "event": "Sale", "messageId": "m", "identifiers": {"loyalty_card": "4000 1234"}}


def test_an_event_that_came_before_the_rules_is_replayed() -> None:
    raw = json.dumps(CALL).encode()
    entry = QuarantineEntry("collector-1", "collector", "wrong_type", "", "pos", "", 0, 7, START_MS, True, "open", "", "", raw)
    assert isinstance(ReplayDecider(SETTINGS, [], Admission()).records(entry, raw), ReplayRefusal)
    replayed = ReplayDecider(SETTINGS, [], Admission(), RULES.namespaces).records(entry, raw)
    assert not isinstance(replayed, ReplayRefusal)
    assert decode(Event, replayed[0].value).identifiers == (("loyalty_card", "40001234"),)


async def test_a_touchpoint_may_name_it() -> None:
    step = AcceptStep(SETTINGS, dict, namespaces=lambda: RULES.namespaces)
    record = Record("onefold.touchpoints", 0, 3, START_MS, None, json.dumps(CALL).encode())
    outcome = await step.run(TopicPartition("touchpoints", 0, 1), [record], START_MS)
    (event,) = [decode(Event, outgoing.value) for outgoing in outcome.produce]
    assert event.identifiers == (("loyalty_card", "40001234"),)
    assert event.owner == event.nodes[0]
