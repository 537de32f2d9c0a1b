"""Why and how for what events do not name themselves: the earlier id of an alias, and the phone of a caller number."""

from domain.identity.rules import CompiledIdentityRules
from ops.identity.references import render_node
from schemas.identifiers import node
from tests.support.events import SECRET, START_MS, event
from tests.support.identity_world import IdentityWorld


def at(identifier: str) -> str:
    namespace, _, value = identifier.partition(":")
    return node(SECRET, (namespace, value))


async def test_an_alias_of_two_known_users_is_explained_and_invents_no_identifier() -> None:
    world = IdentityWorld()
    alias = event({"user_id": "KH-new"}, id="a", type="alias", time_ms=START_MS, properties={"previousId": "KH-old"})
    await world.process_events(
        event({"user_id": "KH-old"}, id="1", name="Xem hàng"), event({"user_id": "KH-new"}, id="2", name="Xem hàng"), alias
    )
    answer = await world.service.why("user_id:KH-old", "user_id:KH-new")
    assert answer["verdict"] == "apart"
    [step] = answer["path"]
    assert step["rule"] == "alias"
    assert step["refused"]["reason"] == "unique"
    assert {render_node(value) for side in step["refused"]["sides"] for value in side} == {"user_id:KH-old", "user_id:KH-new"}
    assert world.pipeline.profiles()[at("user_id:KH-new")].identifiers == (("user_id", "KH-new"),)


async def test_an_alias_of_a_cookie_joins_what_the_cookie_did() -> None:
    world = IdentityWorld()
    alias = event({"user_id": "u1"}, id="a", type="alias", time_ms=START_MS, properties={"previousId": "máy-chung"})
    await world.process_events(event({"anonymous_id": "máy-chung"}, id="1", name="Xem hàng"), alias)
    answer = await world.service.why("user_id:u1", "anonymous_id:máy-chung")
    assert answer["verdict"] == "together"
    assert answer["path"][0]["rule"] == "alias"
    assert world.pipeline.profiles()[at("user_id:u1")].counters == {"Xem hàng": 1, "$alias": 1}


async def test_a_call_from_a_customers_number_is_explained_by_the_number() -> None:
    world = IdentityWorld()
    call = event({"caller_number": "+84912345678"}, id="c", type="call_ended", time_ms=START_MS)
    await world.process_events(event({"user_id": "u1", "phone": "+84912345678"}, id="1", type="identify"), call)
    answer = await world.service.why("user_id:u1", "caller_number:0912 345 678")
    assert answer["verdict"] == "together"
    assert [step["rule"] for step in answer["path"]] == ["together", "same_number"]
    world.rules = world.pipeline.rules = CompiledIdentityRules(same_number=False, sequence_number=1)
    refused = (await world.service.why("user_id:u1", "caller_number:0912 345 678"))["path"][1]["refused"]
    assert refused["reason"] == "rule_off"
    assert "same_number: false" in refused["text"]
