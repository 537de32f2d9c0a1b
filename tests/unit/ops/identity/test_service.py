"""Questions and decisions over the pipeline's twin: merged, taken apart, kept apart, taken back."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from domain.identity.rules import CompiledIdentityRules, IdentityRulesSpec
from ops.cli.identity_answers import decision
from ops.cli.terminal import escape_controls
from ops.identity.references import render_node
from runtime.bus.port import Outgoing
from runtime.errors import Invalid, Transient
from schemas.identifiers import node
from schemas.instants import DAY_MS
from tests.support.events import SECRET, START_MS, event
from tests.support.identity_world import IdentityWorld, PipelineProducer

ÁNH, COOKIE, PHONE = "email:ánh@shop.vn", "anonymous_id:máy-chung", "phone:+84912345678"
BY: dict[str, str] = {"by": "Trần Bình", "reason": "hai người, một máy"}


def at(identifier: str) -> str:
    namespace, _, value = identifier.partition(":")
    return node(SECRET, (namespace, value))


def product_viewed(number: int, *identifiers: str, day: int = 0, **more: Any) -> Any:
    pairs = dict(identifier.split(":", 1) for identifier in identifiers)
    return event(pairs, id=f"m{number}", name="Xem hàng", time_ms=START_MS + day * DAY_MS + number, **more)


async def shared_device() -> IdentityWorld:
    """Return a world in which two e-mails on one device make one profile."""
    world = IdentityWorld()
    await world.process_events(
        product_viewed(1, ÁNH, COOKIE), product_viewed(2, PHONE, COOKIE, day=1), product_viewed(3, ÁNH, "user_id:u1", day=2)
    )
    return world


async def stored_state(world: IdentityWorld) -> dict[str, object]:
    return await world.pipeline.state([at(name) for name in (ÁNH, COOKIE, PHONE, "user_id:u1")])


def identifiers(answer: dict[str, Any]) -> list[list[str]]:
    return sorted(sorted(render_node(identifier) for identifier in profile["identifiers"]) for profile in answer["profiles"])


async def test_evidence_path_between_identifiers_is_explained_with_events() -> None:
    world = await shared_device()
    answer = await world.service.why("user_id:u1", "phone:0912 345 678")
    assert answer["verdict"] == "together"
    assert answer["settled"]
    assert [(render_node(s["from"]), render_node(s["to"])) for s in answer["path"]] == [
        ("user_id:u1", ÁNH),
        (ÁNH, COOKIE),
        (COOKIE, PHONE),
    ]
    assert answer["path"][1]["first_event"]["name"] == "Xem hàng"
    assert answer["path"][1]["first_event"]["id"] == "m1"
    assert answer["a"]["profile_id"] == answer["b"]["profile_id"] == at("user_id:u1")


async def test_without_clickhouse_event_ids_are_reported() -> None:
    world = await shared_device()
    world.reads.away = True
    answer = await world.service.why("user_id:u1", PHONE)
    assert answer["path"][0]["first_event"] == {"id": "m3"}
    assert not answer["history"]


async def test_a_cut_takes_two_apart_and_the_next_event_on_the_device_does_not_join_them() -> None:
    world = await shared_device()
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    assert cut["applied"]
    assert identifiers(cut) == [[COOKIE, ÁNH, "user_id:u1"], [PHONE]]
    assert not cut["why"]["together"]
    await world.process_events(product_viewed(4, PHONE, COOKIE, day=5), product_viewed(5, ÁNH, COOKIE, day=6))
    why = await world.service.why(PHONE, ÁNH)
    (reason,) = why["reasons"]
    assert reason["reason"] == "cut"
    assert reason["decision"]["by"] == "Trần Bình"
    assert reason["decision"]["why"] == "hai người, một máy"
    assert reason["decision"]["operation"] == cut["operation"]
    assert "Trần Bình" in reason["text"]


async def test_what_is_cut_and_taken_back_is_byte_for_byte_what_it_was() -> None:
    world = await shared_device()
    before = await stored_state(world)
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    assert await stored_state(world) != before
    undo = await world.service.undo(cut["operation"], **BY)
    assert undo["of"] == cut["operation"]
    assert undo["on"] is False
    assert undo["action"] == "undo"
    assert await stored_state(world) == before


async def test_an_undo_can_be_undone() -> None:
    world = await shared_device()
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    apart = await stored_state(world)
    undo = await world.service.undo(cut["operation"], **BY)
    second_undo = await world.service.undo(undo["operation"], **BY)
    assert second_undo["on"]
    assert await stored_state(world) == apart


async def test_two_that_are_cut_may_still_be_together_by_another_way() -> None:
    world = await shared_device()
    await world.process_events(product_viewed(4, PHONE, "user_id:u1", day=3))
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    assert len(cut["profiles"]) == 1
    assert cut["why"]["together"]
    assert [render_node(step["to"]) for step in cut["why"]["path"]] == ["user_id:u1", ÁNH, COOKIE]


async def test_a_split_parts_the_identifiers_and_keeps_the_strongest_of_both_apart() -> None:
    world = await shared_device()
    before = await stored_state(world)
    split = await world.service.split("user_id:u1", move=[PHONE, COOKIE], **BY)
    assert identifiers(split) == [[COOKIE, PHONE], [ÁNH, "user_id:u1"]]
    assert split["mixed"] == []
    assert sorted(pair["kind"] for pair in split["pairs"]) == ["apart", "cut"]
    await world.process_events(
        product_viewed(6, COOKIE, ÁNH, day=7),
        product_viewed(7, "user_id:u1", COOKIE, day=8),
        product_viewed(8, PHONE, COOKIE, day=8),
    )
    assert await world.profile_of(at("user_id:u1")) != await world.profile_of(at(PHONE))
    why = await world.service.why("user_id:u1", PHONE)
    assert {reason["reason"] for reason in why["reasons"]} <= {"apart", "cut"}
    assert before != await stored_state(world)


@pytest.mark.parametrize(("keep", "move"), [([PHONE], []), ([], [PHONE])])
async def test_a_split_taken_back_is_byte_for_byte_what_it_was(keep: list[str], move: list[str]) -> None:
    world = await shared_device()
    before = await stored_state(world)
    split = await world.service.split(COOKIE, keep=keep, move=move, **BY)
    assert len(split["profiles"]) == 2
    await world.service.undo(split["operation"], **BY)
    assert await stored_state(world) == before


PEOPLE = ("user_id:u1", "user_id:u2", ÁNH, PHONE)
THINGS = (COOKIE, "anonymous_id:máy-hai", "device_id:máy-ba")


@pytest.mark.parametrize("seed", range(25))
async def test_any_profile_split_in_any_way_stays_apart_and_taken_back_is_what_it_was(seed: int) -> None:
    rng, world = random.Random(seed), IdentityWorld(seed=seed)

    def anything(number: int, day: int) -> Any:
        return product_viewed(number, rng.choice(PEOPLE), rng.choice(THINGS), day=day)

    await world.process_events(*(anything(number, rng.randrange(9)) for number in range(12)))
    nodes = [at(name) for name in (*PEOPLE, *THINGS)]
    before = await world.pipeline.state(nodes)
    answer = [
        await world.service.how(label)
        for label in {await world.profile_of(node) for node in nodes if await has_evidence(world, node)}
    ]
    members = [render_node(identifier) for identifier in max(answer, key=lambda how: len(how["identifiers"]))["identifiers"]]
    moved = rng.sample(members, rng.randint(1, len(members) - 1))
    split = await world.service.split(members[0], move=moved, **BY)
    # weaker identifiers of both parts may meet in a third profile, which had no place for them before; that is told
    mixed = [profile for profile in split["profiles"] if profile["profile_id"] in split["mixed"]]
    assert all({render_node(identifier) for identifier in profile["identifiers"]} - set(members) for profile in mixed)
    strongest = [min(map(at, part)) for part in (moved, set(members) - set(moved))]
    back = await world.service.undo(split["operation"], **BY)
    assert await world.pipeline.state(nodes) == before
    await world.service.undo(back["operation"], **BY)
    for number in range(20, 30):
        await world.process_events(anything(number, 10))
        assert await world.profile_of(strongest[0]) != await world.profile_of(strongest[1])


async def has_evidence(world: IdentityWorld, node_id: str) -> bool:
    """Return whether an identifier has been seen together with another one."""
    return bool((await world.pipeline.store.neighbours([node_id]))[node_id].edges)


async def test_undo_leaves_later_decisions_in_place() -> None:
    world = await shared_device()
    first = await world.service.cut(PHONE, COOKIE, **BY)
    await world.service.undo(first["operation"], **BY)
    with pytest.raises(Invalid, match="later operations have decided") as refused:
        await world.service.undo(first["operation"], **BY)
    assert refused.value.reason == "nothing_to_undo"


async def test_a_decision_holds_whatever_the_clock_says() -> None:
    world = await shared_device()
    first = await world.service.cut(PHONE, COOKIE, **BY)
    for _ in range(4):  # the clock stands still
        first = await world.service.undo(first["operation"], **BY)
        together = await world.profile_of(at(PHONE)) == await world.profile_of(at(COOKIE))
        assert together == (not first["on"])


async def test_decision_not_applied_in_time_is_reported_as_pending() -> None:
    world = await shared_device()
    world.pipeline_producer.agents_paused = True
    answer = await world.service.cut(PHONE, COOKIE, **BY)
    assert not answer["applied"]
    await world.pipeline.drain()
    assert await world.profile_of(at(PHONE)) != await world.profile_of(at(COOKIE))


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("nonsense", "malformed"),
        ("zodiac:lion", "unknown_namespace"),
        ("email:không-phải", "unusable_value"),
        ("user_id:null", "blocked_value"),
        ("email:test@test.com", "blocked_value"),
        ("9" * 32, "malformed"),
    ],
)
async def test_invalid_identifier_is_refused_with_a_reason(identifier: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        await IdentityWorld().service.why("user_id:u1", identifier)
    assert refused.value.reason == reason


async def test_unknown_identifiers_have_never_been_seen_together() -> None:
    answer = await IdentityWorld().service.why("user_id:ai", "user_id:đó")
    assert answer["verdict"] == "never_together"
    assert not answer["a"]["seen"]
    alone = IdentityWorld()
    await alone.process_events(product_viewed(1, "user_id:u1"))
    assert (await alone.service.why("user_id:u1", "user_id:u2"))["a"]["seen"]


async def refusal(action: Any) -> str:
    with pytest.raises(Invalid) as refused:
        await action
    return refused.value.reason


async def test_undecidable_requests_are_refused() -> None:
    world = await shared_device()
    service = world.service
    assert await refusal(service.cut(PHONE, ÁNH, **BY)) == "nothing_to_cut"
    assert await refusal(service.cut(PHONE, PHONE, **BY)) == "nothing_to_cut"
    assert await refusal(service.cut(PHONE, "user_id:nobody", **BY)) == "unknown_identifier"
    assert await refusal(service.cut(PHONE, COOKIE, by="", reason="x")) == "unusable_value"
    assert await refusal(service.cut(PHONE, COOKIE, by="x", reason=" ")) == "unusable_value"
    await service.cut(PHONE, COOKIE, **BY)
    assert await refusal(service.cut(PHONE, COOKIE, **BY)) == "nothing_to_cut"
    assert await refusal(service.split(PHONE, move=[PHONE], **BY)) == "empty_part"
    assert await refusal(service.split(COOKIE, move=["user_id:nobody"], **BY)) == "not_a_member"
    assert await refusal(service.split(COOKIE, keep=["user_id:nobody"], **BY)) == "not_a_member"
    assert await refusal(service.split(COOKIE, keep=[COOKIE], move=[COOKIE], **BY)) == "malformed"
    assert await refusal(service.split(COOKIE, **BY)) == "malformed"
    assert await refusal(service.split("user_id:nobody", move=[COOKIE], **BY)) == "unknown_identifier"
    assert await refusal(service.how("user_id:nobody")) == "unknown_identifier"
    assert await refusal(service.undo("nonsense", **BY)) == "malformed"
    assert await refusal(service.undo("op-" + "0" * 14, **BY)) == "unknown_operation"


async def test_decision_is_refused_while_a_dependency_is_unavailable() -> None:
    world = await shared_device()
    world.broker = "away"
    with pytest.raises(Transient):
        await world.service.cut(PHONE, COOKIE, **BY)
    world.reads.away = True
    with pytest.raises(Transient):
        await world.service.undo("op-" + "0" * 14, **BY)


async def test_pending_operation_cannot_be_undone_yet() -> None:
    world = await shared_device()
    world.pipeline_producer.agents_paused = True
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    with pytest.raises(Transient, match="not applied"):
        await world.service.undo(cut["operation"], **BY)
    world.pipeline_producer.agents_paused = False
    await world.pipeline.drain()
    assert len((await world.service.undo(cut["operation"], **BY))["profiles"]) == 1


async def test_decision_is_reported_even_if_redis_fails_afterwards() -> None:
    world = await shared_device()

    async def gone(*_: Any) -> Any:
        raise Transient("Redis does not answer")

    class Leaving(PipelineProducer):
        async def send(self, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
            offsets = await super().send(records)
            for name in ("checkpoint", "labels", "neighbours"):
                setattr(world.pipeline.store, name, gone)
            return offsets

    world.pipeline_producer = Leaving(world.pipeline)
    answer = await world.service.cut(PHONE, COOKIE, **BY)
    assert answer["operation"][:3] == "op-"
    assert answer["applied"] is False
    assert answer["profiles"] == []
    assert any("has not applied it yet" in line for line in decision(answer))


def test_identifier_values_cannot_inject_terminal_control_codes() -> None:
    assert escape_controls("user_id:Nguyễn Ánh\x1b[2J\n") == "user_id:Nguyễn Ánh\\x1b[2J\\n"


async def test_profile_history_is_explained_in_replay_order() -> None:
    world = IdentityWorld()
    await world.process_events(
        product_viewed(1, "user_id:u1", COOKIE, day=1),
        product_viewed(2, "user_id:u2", COOKIE, day=2),
        product_viewed(3, "user_id:u2", ÁNH, day=3),
    )
    answer = await world.service.how(COOKIE)
    assert [(turn["outcome"], render_node(turn["to"])) for turn in answer["turns"]] == [
        ("joined", ÁNH),
        ("joined", COOKIE),
        ("left_out", COOKIE),
    ]
    refused = answer["turns"][2]["refused"]
    assert refused["reason"] == "unique"
    assert refused["limit"] == 1
    assert [render_node(identifier) for side in refused["sides"] for identifier in side] == ["user_id:u1", "user_id:u2"]
    assert [render_node(link["to"]) for link in refused["joined_before"]] == [COOKIE]
    assert "user_id:u2" in refused["text"]


async def test_a_generic_and_a_blocked_value_are_named() -> None:
    spec = {"email": {"max_neighbours": 1}, "anonymous_id": {"blocked": ["máy-chung"]}}
    rules = CompiledIdentityRules.from_spec(IdentityRulesSpec.model_validate({"namespaces": spec}), secret=SECRET, country="VN")
    world = IdentityWorld(rules=rules)
    await world.process_events(
        product_viewed(1, "user_id:u1", ÁNH), product_viewed(2, "user_id:u2", ÁNH), product_viewed(3, "user_id:u3", COOKIE)
    )
    generic = await world.service.why("user_id:u1", "user_id:u2")
    assert {(r["reason"], r["count"], r["limit"]) for r in generic["reasons"]} == {("generic", 2, 1)}
    assert ÁNH in generic["reasons"][0]["text"]
    (blocked,) = (await world.service.why("user_id:u3", COOKIE))["reasons"]
    assert blocked["reason"] == "blocked"
    assert render_node(blocked["identifier"]) == COOKIE


async def test_evidence_that_joins_nothing_is_followed_to_a_third_profile() -> None:
    world = IdentityWorld()
    await world.process_events(
        product_viewed(1, "user_id:u1", COOKIE, day=1),
        product_viewed(2, "user_id:u2", COOKIE, day=2),
        product_viewed(3, "user_id:u2", "anonymous_id:máy-hai", day=3),
        product_viewed(4, "user_id:u3", "anonymous_id:máy-hai", day=4),
    )
    answer = await world.service.why("user_id:u1", "user_id:u3")
    assert answer["verdict"] == "apart"
    assert [reason["reason"] for reason in answer["reasons"]] == ["unique", "unique"]


async def test_operations_are_listed_newest_first() -> None:
    world = await shared_device()
    cut = await world.service.cut(PHONE, COOKIE, **BY)
    back = await world.service.undo(cut["operation"], **BY)
    listed = await world.service.history.operations(10)
    assert [(entry["operation"], entry["action"]) for entry in listed] == [(back["operation"], "undo"), (cut["operation"], "cut")]
    assert back["operation"] > cut["operation"]
